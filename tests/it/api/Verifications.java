import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Verifies a key as often as asked, with the defaults of java.net.http. */
public class Verifications {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String body = "{\"key\": \"" + arguments[2] + "\"}";
        int valid = 0;
        int failed = 0;
        for (int call = 0; call < Integer.parseInt(arguments[3]); call++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + "/api/keys/verification"))
                .header("Authorization", "Bearer " + arguments[1])
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            try {
                HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() == 200 && answer.body().contains("\"VALID\"")) valid++; else failed++;
            } catch (java.io.IOException cause) {
                System.err.println(cause);
                failed++;
            }
        }
        System.out.println(valid + " valid, " + failed + " failed");
    }
}
