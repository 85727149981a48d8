/* A device with wolfSSL: two visits, the second with the session of the first.
 *
 * Arguments: port, trust anchor, chain, key, and 1.2 or 1.3. Says the status line of each answer. */

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void need(const char *what, int good) {
    if (!good) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

/* Ends the program with wolfSSL's own words, and with the alert if there was one. */
static void need_tls(WOLFSSL *ssl, const char *what, int result, int good) {
    if (!good) {
        WOLFSSL_ALERT_HISTORY alerts;
        char text[WOLFSSL_MAX_ERROR_SZ];
        int code = wolfSSL_get_error(ssl, result);
        wolfSSL_get_alert_history(ssl, &alerts);
        fprintf(stderr, "%s: %d %s, alert %d\n", what, code, wolfSSL_ERR_error_string((unsigned long)code, text),
                alerts.last_rx.code);
        exit(1);
    }
}

static WOLFSSL_SESSION *visit(WOLFSSL_CTX *context, int port, WOLFSSL_SESSION *session) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
    char answer[64 * 1024];
    int length = 0, count;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    WOLFSSL *ssl = wolfSSL_new(context);
    need("new", ssl != NULL);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    need("connect", connect(tcp, (struct sockaddr *)&address, sizeof address) == 0);
    need("name", wolfSSL_check_domain_name(ssl, "gateway.test") == WOLFSSL_SUCCESS);
    need("SNI", wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, "gateway.test", 12) == WOLFSSL_SUCCESS);
    need("fd", wolfSSL_set_fd(ssl, tcp) == WOLFSSL_SUCCESS);
    if (session != NULL) {
        need("session", wolfSSL_set_session(ssl, session) == WOLFSSL_SUCCESS);
    } else {
        wolfSSL_UseSessionTicket(ssl);
    }
    count = wolfSSL_connect(ssl);
    need_tls(ssl, "handshake", count, count == WOLFSSL_SUCCESS);
    count = wolfSSL_write(ssl, request, (int)strlen(request));
    need_tls(ssl, "write", count, count > 0);
    while ((count = wolfSSL_read(ssl, answer + length, (int)sizeof answer - 1 - length)) > 0) {
        length += count;
    }
    need_tls(ssl, "read", count, wolfSSL_get_error(ssl, count) == WOLFSSL_ERROR_ZERO_RETURN);
    answer[length] = 0;
    printf("%.*s\n", (int)strcspn(answer, "\r\n"), answer);
    session = wolfSSL_get1_session(ssl);
    wolfSSL_shutdown(ssl);
    wolfSSL_free(ssl);
    close(tcp);
    return session;
}

int main(int argc, char **argv) {
    WOLFSSL_CTX *context;
    WOLFSSL_SESSION *session;
    if (argc != 6) {
        return 2;
    }
    wolfSSL_Init();
    context = wolfSSL_CTX_new(strcmp(argv[5], "1.3") == 0 ? wolfTLSv1_3_client_method() : wolfTLSv1_2_client_method());
    need("context", context != NULL);
    need("anchor", wolfSSL_CTX_load_verify_locations(context, argv[2], NULL) == WOLFSSL_SUCCESS);
    need("chain", wolfSSL_CTX_use_certificate_chain_file(context, argv[3]) == WOLFSSL_SUCCESS);
    need("key", wolfSSL_CTX_use_PrivateKey_file(context, argv[4], WOLFSSL_FILETYPE_PEM) == WOLFSSL_SUCCESS);
    session = visit(context, atoi(argv[1]), NULL);
    visit(context, atoi(argv[1]), session);
    return 0;
}
