package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	fulcio "github.com/sigstore/fulcio/pkg/generated/protobuf"
	legacy "github.com/sigstore/fulcio/pkg/generated/protobuf/legacy"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

var calls = []struct {
	name string
	run  func(c *Caller) error
}{
	{"v2, key", v2Key},
	{"v2, request", v2Request},
	{"v2, token as metadata", v2Metadata},
	{"v2, compressed", v2Compressed},
	{"v1, key", v1Key},
	{"v1, roots", v1Roots},
	{"trust bundle", trustBundle},
	{"configuration", configuration},
	{"a refusal and its reason", refusal},
	{"an unknown method", unknownMethod},
	{"a message too large", tooLarge},
	{"a deadline", deadline},
	{"200 calls at once", manyCalls},
	{"health", check},
	{"health, watched", watch},
	{"reflection", reflect},
}

type key struct {
	private *ecdsa.PrivateKey
	pem     string
	proof   []byte
}

func (c *Caller) key() *key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256([]byte(c.Identities[0].Challenge))
	proof, err := private.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return &key{private, string(pem.EncodeToMemory(
		&pem.Block{Type: "PUBLIC KEY", Bytes: der})), proof}
}

func (c *Caller) ask(token string, k *key) *fulcio.CreateSigningCertificateRequest {
	return &fulcio.CreateSigningCertificateRequest{
		Credentials: &fulcio.Credentials{Credentials: &fulcio.Credentials_OidcIdentityToken{
			OidcIdentityToken: token}},
		Key: &fulcio.CreateSigningCertificateRequest_PublicKeyRequest{
			PublicKeyRequest: &fulcio.PublicKeyRequest{
				PublicKey: &fulcio.PublicKey{
					Algorithm: fulcio.PublicKeyAlgorithm_ECDSA, Content: k.pem},
				ProofOfPossession: k.proof,
			},
		},
	}
}

// verify checks a chain, leaf first, and that it is for the key.
func (c *Caller) verify(chain []string, k *key) error {
	if len(chain) < 2 {
		return fmt.Errorf("a chain of %d", len(chain))
	}
	var parsed []*x509.Certificate
	for _, text := range chain {
		block, rest := pem.Decode([]byte(text))
		if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
			return errors.New("not one certificate each")
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		parsed = append(parsed, one)
	}
	root, err := os.ReadFile(c.Root)
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	for _, one := range parsed[1:] {
		between.AddCert(one)
	}
	if !k.private.PublicKey.Equal(parsed[0].PublicKey) {
		return errors.New("another key")
	}
	parsed[0].UnhandledCriticalExtensions = nil
	_, err = parsed[0].Verify(x509.VerifyOptions{Roots: roots,
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
	return err
}

func (c *Caller) verifyEmbedded(got *fulcio.SigningCertificate, err error, k *key) error {
	if err != nil {
		return err
	}
	embedded := got.GetSignedCertificateEmbeddedSct()
	if embedded == nil {
		return errors.New("no embedded SCT")
	}
	return c.verify(embedded.GetChain().GetCertificates(), k)
}

func (c *Caller) ca() fulcio.CAClient { return fulcio.NewCAClient(c.connection) }

func (c *Caller) postKey(options ...grpc.CallOption) error {
	ctx, cancel := within(20)
	defer cancel()
	token, err := c.token("")
	if err != nil {
		return err
	}
	k := c.key()
	got, err := c.ca().CreateSigningCertificate(ctx, c.ask(token, k),
		options...)
	return c.verifyEmbedded(got, err, k)
}

func v2Key(c *Caller) error { return c.postKey() }

func v2Compressed(c *Caller) error {
	return c.postKey(grpc.UseCompressor(gzip.Name))
}

func v2Request(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	token, err := c.token("")
	if err != nil {
		return err
	}
	k := c.key()
	csr, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{}, k.private)
	if err != nil {
		return err
	}
	asked := c.ask(token, k)
	asked.Key = &fulcio.CreateSigningCertificateRequest_CertificateSigningRequest{
		CertificateSigningRequest: pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})}
	got, err := c.ca().CreateSigningCertificate(ctx, asked)
	return c.verifyEmbedded(got, err, k)
}

func (c *Caller) bearing(ctx context.Context) (context.Context, error) {
	token, err := c.token("")
	return metadata.AppendToOutgoingContext(ctx, "authorization",
		"Bearer "+token), err
}

func v2Metadata(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	ctx, err := c.bearing(ctx)
	if err != nil {
		return err
	}
	k := c.key()
	asked := c.ask("", k)
	asked.Credentials = nil
	got, err := c.ca().CreateSigningCertificate(ctx, asked)
	return c.verifyEmbedded(got, err, k)
}

func v1Key(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	ctx, err := c.bearing(ctx)
	if err != nil {
		return err
	}
	k := c.key()
	got, err := legacy.NewCAClient(c.connection).CreateSigningCertificate(ctx,
		&legacy.CreateSigningCertificateRequest{
			PublicKey: &legacy.PublicKey{Algorithm: "ecdsa",
				Content: []byte(k.pem)},
			SignedEmailAddress: k.proof,
		})
	if err != nil {
		return err
	}
	if got.GetContentType() != "application/pem-certificate-chain" {
		return errors.New(got.GetContentType())
	}
	var chain []string
	for _, part := range strings.SplitAfter(string(got.GetData()),
		"-----END CERTIFICATE-----") {
		if strings.TrimSpace(part) != "" {
			chain = append(chain, part)
		}
	}
	return c.verify(chain, k)
}

func v1Roots(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	got, err := legacy.NewCAClient(c.connection).GetRootCertificate(ctx,
		&emptypb.Empty{})
	if err == nil && !strings.Contains(string(got.GetData()), "CERTIFICATE") {
		err = errors.New("no certificate")
	}
	return err
}

func trustBundle(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	got, err := c.ca().GetTrustBundle(ctx, &fulcio.GetTrustBundleRequest{})
	if err == nil && (len(got.GetChains()) != 1 ||
		len(got.GetChains()[0].GetCertificates()) == 0) {
		err = fmt.Errorf("%v", got)
	}
	return err
}

func configuration(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	got, err := c.ca().GetConfiguration(ctx, &fulcio.GetConfigurationRequest{})
	if err != nil {
		return err
	}
	for _, one := range got.GetIssuers() {
		if one.GetIssuerUrl() == c.Issuer && one.GetAudience() == "sigstore" {
			return nil
		}
	}
	return fmt.Errorf("%v", got)
}

func expect(err error, code codes.Code) error {
	if status.Code(err) != code {
		return fmt.Errorf("not %v: %v", code, err)
	}
	return nil
}

func refusal(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	token, err := c.token("somebody else")
	if err != nil {
		return err
	}
	_, err = c.ca().CreateSigningCertificate(ctx, c.ask(token, c.key()))
	if wrong := expect(err, codes.InvalidArgument); wrong != nil {
		return wrong
	}
	told := status.Convert(err)
	if told.Message() != "There was an error processing the identity token" {
		return errors.New(told.Message())
	}
	for _, detail := range told.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if ok && info.Reason == "WRONG_AUDIENCE" && info.Domain == "fulcio" {
			return nil
		}
	}
	return fmt.Errorf("details: %v", told.Details())
}

func unknownMethod(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	return expect(c.connection.Invoke(ctx, "/dev.sigstore.fulcio.v2.CA/Nothing",
		&emptypb.Empty{}, &emptypb.Empty{}), codes.Unimplemented)
}

func tooLarge(c *Caller) error {
	ctx, cancel := within(20)
	defer cancel()
	_, err := c.ca().CreateSigningCertificate(ctx,
		c.ask(strings.Repeat("x", 1<<20), c.key()))
	if wrong := expect(err, codes.ResourceExhausted); wrong != nil {
		return wrong
	}
	return check(c)
}

func manyCalls(c *Caller) error {
	ctx, cancel := within(30)
	defer cancel()
	var all sync.WaitGroup
	failed := make([]error, 200)
	for i := range failed {
		all.Go(func() {
			_, failed[i] = c.ca().GetTrustBundle(ctx,
				&fulcio.GetTrustBundleRequest{})
		})
	}
	all.Wait()
	return errors.Join(failed...)
}
