// Command standin is what sigstore clients want besides a certificate
// authority, in memory: a timestamp authority (RFC 3161) and a signature log
// (Rekor, API version 2). It listens on loopback and prints one JSON line
// with its addresses and what a trusted root must say of it.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

// Facts is the line that is printed at start. Byte slices become base64.
type Facts struct {
	URL      string   `json:"url"`
	TSAChain [][]byte `json:"tsa_chain"` // DER, leaf first
	RekorKey []byte   `json:"rekor_key"` // SPKI
	RekorID  []byte   `json:"rekor_id"`
}

func run() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	rekor, err := newRekor("127.0.0.1")
	if err != nil {
		return err
	}
	http.HandleFunc("POST /api/v1/timestamp", authority.stamp)
	http.HandleFunc("POST /api/v2/log/entries", rekor.add)
	facts := Facts{
		URL:      "http://" + listener.Addr().String(),
		TSAChain: authority.chain(),
		RekorKey: rekor.spki,
		RekorID:  rekor.id,
	}
	line, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return http.Serve(listener, nil)
}

func main() {
	if err := run(); err != nil {
		log.Println(err)
		os.Exit(1)
	}
}
