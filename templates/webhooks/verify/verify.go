package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verify takes the raw body: call it before you parse the body.
func Verify(secret string, headers http.Header, body []byte) error {
	at, err := strconv.ParseInt(headers.Get("webhook-timestamp"), 10, 64)
	if err != nil || math.Abs(float64(time.Now().Unix()-at)) > 300 {
		return errors.New("too old")
	}
	// A secret without the prefix whsec_ is used as it is.
	key := []byte(secret)
	if encoded, isStandard := strings.CutPrefix(secret, "whsec_"); isStandard {
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return err
		}
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", headers.Get("webhook-id"), at)
	mac.Write(body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	// During a rotation there are several signatures.
	for _, one := range strings.Fields(headers.Get("webhook-signature")) {
		if hmac.Equal([]byte(one), []byte(expected)) {
			return nil
		}
	}
	return errors.New("wrong signature")
}
