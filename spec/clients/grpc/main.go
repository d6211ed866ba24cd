// Command grpc calls every service that Fulcio's gRPC port has, with
// google.golang.org/grpc and Fulcio's own generated package, in the scene
// that a file describes. It prints a line a case: "ok NAME" or "not ok NAME:
// reason".
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

type Identity struct {
	Name      string          `json:"name"`
	Claims    json.RawMessage `json:"claims"`
	Challenge string          `json:"challenge"`
}

type Scene struct {
	Fulcio         string     `json:"fulcio"`
	GRPC           string     `json:"grpc"`
	Issuer         string     `json:"issuer"`
	Root           string     `json:"root"`
	TLSCertificate string     `json:"tls_certificate"`
	TLSKey         string     `json:"tls_key"`
	Identities     []Identity `json:"identities"`
}

// Caller is one way to reach the server.
type Caller struct {
	*Scene
	connection *grpc.ClientConn
}

func (s *Scene) token(audience string) (string, error) {
	claims := map[string]any{}
	if err := json.Unmarshal(s.Identities[0].Claims, &claims); err != nil {
		return "", err
	}
	if audience != "" {
		claims["aud"] = audience
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	response, err := http.Post(s.Issuer+"/token", "application/json",
		bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(string(text))
	}
	return string(text), err
}

// authorities are what the gRPC port's certificate is verified with.
func (s *Scene) authorities() (*tls.Config, error) {
	text, err := os.ReadFile(s.TLSCertificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificate in " + s.TLSCertificate)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func within(seconds int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(),
		time.Duration(seconds)*time.Second)
}

func report(name string, run func() error) {
	err := func() (err error) {
		defer func() {
			if thrown := recover(); thrown != nil {
				err = fmt.Errorf("panic: %v", thrown)
			}
		}()
		return run()
	}()
	if err != nil {
		fmt.Printf("not ok %s: %q\n", name, err)
		return
	}
	fmt.Println("ok " + name)
}

func dial(scene *Scene, target string,
	transport credentials.TransportCredentials) *Caller {
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport))
	if err != nil {
		panic(err)
	}
	return &Caller{scene, connection}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	scene := &Scene{}
	if err := json.Unmarshal(text, scene); err != nil {
		panic(err)
	}
	plain, err := url.Parse(scene.Fulcio)
	if err != nil {
		panic(err)
	}
	authorities, err := scene.authorities()
	if err != nil {
		panic(err)
	}
	ports := []struct {
		name   string
		caller *Caller
	}{
		{"over TLS", dial(scene, scene.GRPC,
			credentials.NewTLS(authorities))},
		{"on the HTTP port", dial(scene, plain.Host,
			insecure.NewCredentials())},
	}
	for _, port := range ports {
		for _, one := range calls {
			report(one.name+" "+port.name, func() error {
				return one.run(port.caller)
			})
		}
	}
	for _, one := range handshakes {
		report(one.name, func() error { return one.run(ports[0].caller) })
	}
}
