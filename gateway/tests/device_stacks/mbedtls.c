/* A device with mbedTLS 2.28: two visits, the second with the session of the first.
 *
 * Arguments: port, trust anchor, chain, key, and 512 to ask for that maximum fragment length (RFC 6066, section 4) or 0.
 * Says the status line of each answer, and at the end the length of the longest record that came. */

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int longest_record;

/* mbedTLS reads a record's header by itself, and then exactly its contents. */
static int receive(void *net, unsigned char *buffer, size_t length) {
    int count = mbedtls_net_recv(net, buffer, length);
    if (length != 5 && (int)length > longest_record) {
        longest_record = (int)length;
    }
    return count;
}

static void need(const char *what, int code) {
    if (code < 0) {
        char text[200];
        mbedtls_strerror(code, text, sizeof text);
        fprintf(stderr, "%s: -0x%04x %s\n", what, (unsigned)-code, text);
        exit(1);
    }
}

static void visit(const mbedtls_ssl_config *config, const char *port, mbedtls_ssl_session *session, int resume) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
    char answer[64 * 1024];
    size_t length = 0;
    int count;
    mbedtls_net_context net;
    mbedtls_ssl_context ssl;
    mbedtls_net_init(&net);
    mbedtls_ssl_init(&ssl);
    need("connect", mbedtls_net_connect(&net, "127.0.0.1", port, MBEDTLS_NET_PROTO_TCP));
    need("setup", mbedtls_ssl_setup(&ssl, config));
    need("name", mbedtls_ssl_set_hostname(&ssl, "gateway.test"));
    mbedtls_ssl_set_bio(&ssl, &net, mbedtls_net_send, receive, NULL);
    if (resume) {
        need("session", mbedtls_ssl_set_session(&ssl, session));
    }
    need("handshake", mbedtls_ssl_handshake(&ssl));
    need("write", mbedtls_ssl_write(&ssl, (const unsigned char *)request, strlen(request)));
    while ((count = mbedtls_ssl_read(&ssl, (unsigned char *)answer + length, sizeof answer - 1 - length)) > 0) {
        length += (size_t)count;
    }
    if (count != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        need("read", count);
    }
    answer[length] = 0;
    printf("%.*s\n", (int)strcspn(answer, "\r\n"), answer);
    if (!resume) {
        need("session", mbedtls_ssl_get_session(&ssl, session));
    }
    mbedtls_ssl_close_notify(&ssl);
    mbedtls_ssl_free(&ssl);
    mbedtls_net_free(&net);
}

int main(int argc, char **argv) {
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt anchor, chain;
    mbedtls_pk_context key;
    mbedtls_ssl_config config;
    mbedtls_ssl_session session;
    if (argc != 6) {
        return 2;
    }
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&anchor);
    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_session_init(&session);
    need("random", mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0));
    need("anchor", mbedtls_x509_crt_parse_file(&anchor, argv[2]));
    need("chain", mbedtls_x509_crt_parse_file(&chain, argv[3]));
    need("key", mbedtls_pk_parse_keyfile(&key, argv[4], NULL));
    need("defaults", mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &anchor, NULL);
    need("own certificate", mbedtls_ssl_conf_own_cert(&config, &chain, &key));
    if (strcmp(argv[5], "512") == 0) {
        need("fragment length", mbedtls_ssl_conf_max_frag_len(&config, MBEDTLS_SSL_MAX_FRAG_LEN_512));
    }
    visit(&config, argv[1], &session, 0);
    visit(&config, argv[1], &session, 1);
    printf("longest record: %d\n", longest_record);
    return 0;
}
