package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
)

// authority is a timestamp authority: a leaf that signs and its root.
type authority struct {
	key        *ecdsa.PrivateKey
	leaf, root *x509.Certificate
}

// Any policy will do; this one is the documentation arc's.
var policy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 2}

// extKeyUsage with timeStamping alone, critical, as RFC 3161 2.3 asks.
var timeStamping = pkix.Extension{
	Id:       asn1.ObjectIdentifier{2, 5, 29, 37},
	Critical: true,
	Value:    []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 3, 8},
}

func issue(draft, parent *x509.Certificate, key *ecdsa.PublicKey,
	signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, draft, parent, key, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func draft(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func newAuthority() (*authority, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	above := draft("stand-in timestamp root", 1)
	above.IsCA, above.BasicConstraintsValid = true, true
	above.KeyUsage = x509.KeyUsageCertSign
	root, err := issue(above, above, &rootKey.PublicKey, rootKey)
	if err != nil {
		return nil, err
	}
	below := draft("stand-in timestamps", 2)
	below.KeyUsage = x509.KeyUsageDigitalSignature
	below.ExtraExtensions = []pkix.Extension{timeStamping}
	leaf, err := issue(below, root, &key.PublicKey, rootKey)
	return &authority{key, leaf, root}, err
}

func (a *authority) chain() [][]byte {
	return [][]byte{a.leaf.Raw, a.root.Raw}
}

// asked reads a request: DER as RFC 3161 says, or sigstore-js's JSON.
func asked(r *http.Request) (*timestamp.Request, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return timestamp.ParseRequest(body)
	}
	var wanted struct {
		ArtifactHash  []byte `json:"artifactHash"`
		HashAlgorithm string `json:"hashAlgorithm"`
	}
	if err := json.Unmarshal(body, &wanted); err != nil {
		return nil, err
	}
	if wanted.HashAlgorithm != "sha256" {
		return nil, errors.New("only sha256 is stamped")
	}
	return &timestamp.Request{
		HashAlgorithm: crypto.SHA256,
		HashedMessage: wanted.ArtifactHash,
		Certificates:  true,
	}, nil
}

// stamp answers with the signing certificate alone: some clients refuse a
// set of certificates that is not in DER's order.
func (a *authority) stamp(w http.ResponseWriter, r *http.Request) {
	request, err := asked(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm:     request.HashAlgorithm,
		HashedMessage:     request.HashedMessage,
		Time:              time.Now().UTC(),
		Nonce:             request.Nonce,
		Policy:            policy,
		Accuracy:          time.Second,
		AddTSACertificate: request.Certificates,
	}
	der, err := stamp.CreateResponseWithOpts(a.leaf, a.key, crypto.SHA256)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(der)
}
