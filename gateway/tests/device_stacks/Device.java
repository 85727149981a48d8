// A device with Java's own TLS: two visits, the second with the session of the first.
//
// Arguments: port, trust anchor, chain, key, and 1.2 or 1.3. Says the status line of each answer.

import java.io.FileInputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class Device {
    public static void main(String[] arguments) throws Exception {
        try {
            SSLContext context = context(arguments[1], arguments[2], arguments[3]);
            int port = Integer.parseInt(arguments[0]);
            for (int visit = 0; visit < 2; visit++) {
                System.out.println(visit(context, port, "TLSv" + arguments[4]));
            }
        } catch (java.io.IOException refusal) {
            System.err.println(refusal);
            System.exit(1);
        }
    }

    static Certificate[] certificates(String file) throws Exception {
        try (FileInputStream pem = new FileInputStream(file)) {
            return CertificateFactory.getInstance("X.509").generateCertificates(pem).toArray(new Certificate[0]);
        }
    }

    static SSLContext context(String anchor, String chain, String key) throws Exception {
        String pem = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        PKCS8EncodedKeySpec encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
        Certificate[] own = certificates(chain);
        String algorithm = own[0].getPublicKey().getAlgorithm();
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(null, null);
        keys.setKeyEntry("device", KeyFactory.getInstance(algorithm).generatePrivate(encoded), new char[0], own);
        KeyManagerFactory keyManagers = KeyManagerFactory.getInstance("NewSunX509");
        keyManagers.init(keys, new char[0]);
        KeyStore anchors = KeyStore.getInstance("PKCS12");
        anchors.load(null, null);
        anchors.setCertificateEntry("anchor", certificates(anchor)[0]);
        TrustManagerFactory trustManagers = TrustManagerFactory.getInstance("PKIX");
        trustManagers.init(anchors);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keyManagers.getKeyManagers(), trustManagers.getTrustManagers(), null);
        return context;
    }

    static String visit(SSLContext context, int port, String version) throws Exception {
        try (Socket tcp = new Socket(InetAddress.getLoopbackAddress(), port);
                SSLSocket tls = (SSLSocket) context.getSocketFactory().createSocket(tcp, "gateway.test", port, true)) {
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            parameters.setProtocols(new String[] {version});
            tls.setSSLParameters(parameters);
            String request = "GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n";
            tls.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            String answer = new String(tls.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
            return answer.lines().findFirst().orElse("");
        }
    }
}
