import { createHmac, timingSafeEqual } from "node:crypto";

// Takes the raw body: call it before you parse the body. Header names are in lower case.
export function verify(secret, headers, body) {
  const at = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(at)) <= 300)) throw new Error("too old");
  // A secret without the prefix whsec_ is used as it is.
  const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
  const digest = createHmac("sha256", key).update(`${headers["webhook-id"]}.${at}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  // During a rotation there are several signatures.
  const given = headers["webhook-signature"].split(" ").map((one) => Buffer.from(one));
  const isRight = given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  if (!isRight) throw new Error("wrong signature");
}
