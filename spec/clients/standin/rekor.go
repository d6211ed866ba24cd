package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/note"
)

// rekor is a signature log, API version 2. It takes what it is given: that
// signatures are good is for the clients to verify.
type rekor struct {
	origin   string
	spki, id []byte
	signer   note.Signer

	mutex sync.Mutex
	tree  *testonly.Tree
}

type object = map[string]any

// The log's ID is its signed-note key ID before it is cut to four bytes:
// SHA-256(origin LF 01 key), C2SP signed-note.
func newRekor(origin string) (*rekor, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(append([]byte(origin+"\n\x01"), public...))
	secret := base64.StdEncoding.EncodeToString(
		append([]byte{1}, private.Seed()...))
	signer, err := note.NewSigner(
		fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", origin, id[:4], secret))
	if err != nil {
		return nil, err
	}
	tree := testonly.New(rfc6962.DefaultHasher)
	return &rekor{origin: origin, spki: spki, id: id[:], signer: signer,
		tree: tree}, nil
}

func member(from object, name string) object {
	found, _ := from[name].(object)
	return found
}

// hashes by Rekor's names of keys; the clients use no others.
var hashes = map[any]string{
	"PKIX_ECDSA_P256_SHA_256": "SHA2_256",
	"PKIX_ECDSA_P384_SHA_384": "SHA2_384",
	"PKIX_ECDSA_P521_SHA_512": "SHA2_512",

	"PKIX_RSA_PKCS1V15_2048_SHA256": "SHA2_256",
	"PKIX_RSA_PKCS1V15_3072_SHA256": "SHA2_256",
	"PKIX_RSA_PKCS1V15_4096_SHA256": "SHA2_256",
	"PKIX_ED25519_PH":               "SHA2_512",
}

func hashedrekord(request object) (string, object, error) {
	signature := member(request, "signature")
	hash, known := hashes[member(signature, "verifier")["keyDetails"]]
	if !known {
		return "", nil, fmt.Errorf("unknown key in %v", request)
	}
	return "hashedrekord", object{"hashedRekordV002": object{
		"data":      object{"algorithm": hash, "digest": request["digest"]},
		"signature": signature,
	}}, nil
}

func dsse(request object) (string, object, error) {
	envelope := member(request, "envelope")
	signatures, _ := envelope["signatures"].([]any)
	verifiers, _ := request["verifiers"].([]any)
	text, _ := envelope["payload"].(string)
	payload, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(signatures) != 1 || len(verifiers) != 1 {
		return "", nil, errors.New("an envelope with one signature, please")
	}
	first, _ := signatures[0].(object)
	digest := sha256.Sum256(payload)
	return "dsse", object{"dsseV002": object{
		"payloadHash": object{"algorithm": "SHA2_256", "digest": digest[:]},
		"signatures": []any{
			object{"content": first["sig"], "verifier": verifiers[0]}},
	}}, nil
}

// canonical is RFC 8785 for what an entry holds: sorted names, base64 texts.
func canonical(entry object) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(entry)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

func entryOf(request object) (kind string, body []byte, err error) {
	var spec object
	if wanted := member(request, "hashedRekordRequestV002"); wanted != nil {
		kind, spec, err = hashedrekord(wanted)
	} else if wanted := member(request, "dsseRequestV002"); wanted != nil {
		kind, spec, err = dsse(wanted)
	} else {
		err = errors.New("neither a hashedrekord nor a dsse request")
	}
	if err != nil {
		return "", nil, err
	}
	body, err = canonical(object{"apiVersion": "0.0.2", "kind": kind,
		"spec": spec})
	return kind, body, err
}

// proof appends an entry and proves that the log has it.
func (r *rekor) proof(body []byte) (uint64, object, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.tree.AppendData(body)
	size, root := r.tree.Size(), r.tree.Hash()
	path, err := r.tree.InclusionProof(size-1, size)
	if err != nil {
		return 0, nil, err
	}
	checkpoint, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n",
		r.origin, size, base64.StdEncoding.EncodeToString(root))}, r.signer)
	return size - 1, object{
		"logIndex":   strconv.FormatUint(size-1, 10),
		"rootHash":   root,
		"treeSize":   strconv.FormatUint(size, 10),
		"hashes":     path,
		"checkpoint": object{"envelope": string(checkpoint)},
	}, err
}

func (r *rekor) add(w http.ResponseWriter, q *http.Request) {
	var request object
	err := json.NewDecoder(q.Body).Decode(&request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, body, err := entryOf(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	index, proof, err := r.proof(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(object{
		"logIndex":          strconv.FormatUint(index, 10),
		"logId":             object{"keyId": r.id},
		"kindVersion":       object{"kind": kind, "version": "0.0.2"},
		"inclusionProof":    proof,
		"canonicalizedBody": body,
	})
}
