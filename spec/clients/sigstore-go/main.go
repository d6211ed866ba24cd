// Command sigstore-go signs and verifies with the Go client library, as
// cosign and gh do, in the scene that a file describes. It prints a line a
// case: "ok NAME" or "not ok NAME: reason".
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

type Identity struct {
	Name   string          `json:"name"`
	Claims json.RawMessage `json:"claims"`
	SAN    string          `json:"san"`
}

type Scene struct {
	Fulcio      string            `json:"fulcio"`
	Issuer      string            `json:"issuer"`
	Standin     string            `json:"standin"`
	TrustedRoot string            `json:"trusted_root"`
	WrongRoots  map[string]string `json:"wrong_roots"`
	Identities  []Identity        `json:"identities"`
}

var keys = []struct {
	name      string
	algorithm common.PublicKeyDetails
}{
	{"P-256", common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256},
	{"P-384", common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384},
	{"P-521", common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512},
	{"RSA-2048", common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256},
	{"RSA-3072", common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256},
	{"RSA-4096", common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256},
	{"Ed25519", common.PublicKeyDetails_PKIX_ED25519},
}

var artifact = []byte("an artifact\n")

var statement = []byte(`{"_type":"https://in-toto.io/Statement/v1",` +
	`"subject":[{"name":"artifact","digest":{"sha256":"` +
	`7e1bd2d43e4a64ec5c2b1a4e4d4fe1a6c5a28fdd1d5cbb4b5d39e8b76d36f8b1"}}],` +
	`"predicateType":"https://example.com/predicate","predicate":{}}`)

func (s *Scene) token(identity Identity) (string, error) {
	response, err := http.Post(s.Issuer+"/token", "application/json",
		bytes.NewReader(identity.Claims))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return string(body), err
}

// sign makes a bundle. Pure Ed25519 has no prehash, so Rekor v2 has no entry
// for it: such a bundle has a timestamp alone.
func (s *Scene) sign(identity Identity, content sign.Content,
	algorithm common.PublicKeyDetails) (*bundle.Bundle, error) {
	token, err := s.token(identity)
	if err != nil {
		return nil, err
	}
	pair, err := sign.NewEphemeralKeypair(
		&sign.EphemeralKeypairOptions{Algorithm: algorithm})
	if err != nil {
		return nil, err
	}
	options := sign.BundleOptions{
		CertificateProvider: sign.NewFulcio(
			&sign.FulcioOptions{BaseURL: s.Fulcio}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{
			IDToken: token},
		TimestampAuthorities: []*sign.TimestampAuthority{
			sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
				URL: s.Standin + "/api/v1/timestamp"})},
	}
	if algorithm != common.PublicKeyDetails_PKIX_ED25519 {
		options.TransparencyLogs = []sign.Transparency{sign.NewRekor(
			&sign.RekorOptions{BaseURL: s.Standin, Version: 2})}
	}
	made, err := sign.Bundle(content, pair, options)
	if err != nil {
		return nil, err
	}
	return bundle.NewBundle(made)
}

func (s *Scene) verify(b *bundle.Bundle, rootFile, san string,
	policy verify.ArtifactPolicyOption) error {
	trusted, err := root.NewTrustedRootFromPath(rootFile)
	if err != nil {
		return err
	}
	options := []verify.VerifierOption{verify.WithSignedTimestamps(1),
		verify.WithSignedCertificateTimestamps(1)}
	if entries, err := b.TlogEntries(); err == nil && len(entries) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	verifier, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return err
	}
	identity, err := verify.NewShortCertificateIdentity(s.Issuer, "", san, "")
	if err != nil {
		return err
	}
	_, err = verifier.Verify(b, verify.NewPolicy(policy,
		verify.WithCertificateIdentity(identity)))
	return err
}

func say(name string, err error) {
	if err == nil {
		fmt.Println("ok " + name)
		return
	}
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	fmt.Printf("not ok %s: %s\n", name, text)
}

func refused(name string, err error) {
	if err == nil {
		say(name, errors.New("it was accepted"))
		return
	}
	say(name, nil)
}

func (s *Scene) positive(identity Identity, key string,
	algorithm common.PublicKeyDetails) {
	envelope := &sign.DSSEData{Data: statement,
		PayloadType: "application/vnd.in-toto+json"}
	b, err := s.sign(identity, envelope, algorithm)
	if err == nil {
		err = s.verify(b, s.TrustedRoot, identity.SAN,
			verify.WithoutArtifactUnsafe())
	}
	say("statement as "+identity.Name+" with "+key, err)
	if key == "Ed25519" { // the library verifies it in envelopes only
		return
	}
	b, err = s.sign(identity, &sign.PlainData{Data: artifact}, algorithm)
	if err == nil {
		err = s.verify(b, s.TrustedRoot, identity.SAN,
			verify.WithArtifact(bytes.NewReader(artifact)))
	}
	say("artifact as "+identity.Name+" with "+key, err)
}

func (s *Scene) negative(identity Identity) {
	b, err := s.sign(identity, &sign.PlainData{Data: artifact},
		keys[0].algorithm)
	if err != nil {
		say("a bundle to refuse", err)
		return
	}
	good := verify.WithArtifact(bytes.NewReader(artifact))
	for name, file := range s.WrongRoots {
		refused("refuses "+name, s.verify(b, file, identity.SAN, good))
		good = verify.WithArtifact(bytes.NewReader(artifact))
	}
	refused("refuses another identity",
		s.verify(b, s.TrustedRoot, "mallory@example.com", good))
	refused("refuses another artifact", s.verify(b, s.TrustedRoot,
		identity.SAN, verify.WithArtifact(strings.NewReader("another"))))
	forged := identity
	forged.Claims = json.RawMessage(`{"sub":"alice","aud":"elsewhere"}`)
	_, err = s.sign(forged, &sign.PlainData{Data: artifact},
		keys[0].algorithm)
	refused("hears that the audience is wrong", err)
}

func main() {
	var scene Scene
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = json.Unmarshal(text, &scene)
	}
	if err != nil {
		fmt.Println("not ok scene:", err)
		os.Exit(1)
	}
	for _, key := range keys {
		scene.positive(scene.Identities[0], key.name, key.algorithm)
	}
	for _, identity := range scene.Identities[1:] {
		scene.positive(identity, keys[0].name, keys[0].algorithm)
	}
	scene.negative(scene.Identities[0])
}
