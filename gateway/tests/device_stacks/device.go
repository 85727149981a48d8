// A device with Go's own TLS: two visits, the second with the session of the first.
//
// Arguments: port, trust anchor, chain, key, and 1.2 or 1.3. Says the status line of each answer.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
)

func need(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func visit(address string, config *tls.Config) string {
	connection, err := tls.Dial("tcp", address, config)
	need(err)
	defer connection.Close()
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
	need(err)
	answer, err := io.ReadAll(connection)
	need(err)
	return strings.SplitN(string(answer), "\r\n", 2)[0]
}

func main() {
	port, anchor, chain, key, version := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	pem, err := os.ReadFile(anchor)
	need(err)
	anchors := x509.NewCertPool()
	anchors.AppendCertsFromPEM(pem)
	credential, err := tls.LoadX509KeyPair(chain, key)
	need(err)
	number := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[version]
	config := &tls.Config{
		RootCAs:            anchors,
		ServerName:         "gateway.test",
		MinVersion:         number,
		MaxVersion:         number,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
		// Unlike Certificates, this sends the chain whatever issuers the server names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &credential, nil },
	}
	for i := 0; i < 2; i++ {
		fmt.Println(visit("127.0.0.1:"+port, config))
	}
}
