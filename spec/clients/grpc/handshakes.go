package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
)

var handshakes = []struct {
	name string
	run  func(c *Caller) error
}{
	{"TLS 1.3 is preferred, and h2", newest},
	{"TLS 1.2 will do", older},
	{"TLS 1.1 will not", tooOld},
	{"no TLS is refused", noTLS},
	{"no common protocol is refused", noProtocol},
	{"a bad pair leaves the old", badPair},
	{"a new pair for new connections", newPair},
}

func (c *Caller) shake(minimum, maximum uint16, protocols ...string) (
	tls.ConnectionState, error) {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: minimum,
		MaxVersion: maximum, NextProtos: protocols}
	connection, err := tls.Dial("tcp", c.GRPC, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer connection.Close()
	return connection.ConnectionState(), nil
}

func newest(c *Caller) error {
	state, err := c.shake(tls.VersionTLS12, 0, "http/1.1", "h2")
	if err == nil && (state.Version != tls.VersionTLS13 ||
		state.NegotiatedProtocol != "h2") {
		err = fmt.Errorf("%x %s", state.Version, state.NegotiatedProtocol)
	}
	return err
}

func older(c *Caller) error {
	state, err := c.shake(tls.VersionTLS12, tls.VersionTLS12, "http/1.1")
	if err == nil && state.NegotiatedProtocol != "http/1.1" {
		err = errors.New(state.NegotiatedProtocol)
	}
	return err
}

func refused(err error, why string) error {
	if err == nil || !strings.Contains(err.Error(), why) {
		return fmt.Errorf("not %q: %v", why, err)
	}
	return nil
}

func tooOld(c *Caller) error {
	_, err := c.shake(tls.VersionTLS10, tls.VersionTLS11)
	return refused(err, "protocol version")
}

func noProtocol(c *Caller) error {
	_, err := c.shake(tls.VersionTLS12, 0, "acme-tls/1")
	return refused(err, "no application protocol")
}

func noTLS(c *Caller) error {
	connection, err := net.Dial("tcp", c.GRPC)
	if err != nil {
		return err
	}
	defer connection.Close()
	fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answer := make([]byte, 12)
	_, err = connection.Read(answer)
	if err == nil && string(answer) != "HTTP/1.1 400" {
		err = fmt.Errorf("%q", answer)
	}
	return err
}

// pair is a new certificate for this machine, and its key.
func pair() (certificate, key, der []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "new"},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err = x509.CreateCertificate(rand.Reader, template, template,
		private.Public(), private)
	if err != nil {
		panic(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		der
}

// replace writes as cautious programs do: a file of its own, renamed.
func replace(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (c *Caller) shown() ([]byte, error) {
	state, err := c.shake(tls.VersionTLS12, 0)
	if err != nil {
		return nil, err
	}
	return state.PeerCertificates[0].Raw, nil
}

func badPair(c *Caller) error {
	before, err := c.shown()
	if err != nil {
		return err
	}
	certificate, err := os.ReadFile(c.TLSCertificate)
	if err != nil {
		return err
	}
	other, _, _ := pair()
	if err := replace(c.TLSCertificate, other); err != nil {
		return err
	}
	for range 30 {
		now, err := c.shown()
		if err != nil {
			return err
		}
		if !bytes.Equal(before, now) {
			return errors.New("another certificate is shown")
		}
		time.Sleep(100 * time.Millisecond)
	}
	return replace(c.TLSCertificate, certificate)
}

// newPair waits until each of several new connections, which any process
// may get, sees it; the connection that was there before goes on.
func newPair(c *Caller) error {
	certificate, secret, der := pair()
	if err := replace(c.TLSKey, secret); err != nil {
		return err
	}
	if err := replace(c.TLSCertificate, certificate); err != nil {
		return err
	}
	for alike, tries := 0, 0; alike < 20; tries++ {
		now, err := c.shown()
		if err != nil {
			return err
		}
		alike++
		if !bytes.Equal(now, der) {
			alike = 0
			time.Sleep(50 * time.Millisecond)
		}
		if tries > 400 {
			return errors.New("the old certificate is still shown")
		}
	}
	if err := v2Key(c); err != nil {
		return fmt.Errorf("on the old connection: %w", err)
	}
	authorities, err := c.authorities()
	if err != nil {
		return err
	}
	return v2Key(dial(c.Scene, c.GRPC, credentials.NewTLS(authorities)))
}
