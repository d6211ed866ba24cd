import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.sigstore.AlgorithmRegistry.SigningAlgorithm;
import dev.sigstore.KeylessSigner;
import dev.sigstore.KeylessVerifier;
import dev.sigstore.SigningConfigProvider;
import dev.sigstore.TrustedRootProvider;
import dev.sigstore.VerificationOptions;
import dev.sigstore.VerificationOptions.CertificateMatcher;
import dev.sigstore.bundle.Bundle;
import dev.sigstore.oidc.client.ImmutableOidcToken;
import dev.sigstore.oidc.client.OidcClient;
import dev.sigstore.oidc.client.OidcClients;
import dev.sigstore.oidc.client.OidcToken;
import dev.sigstore.strings.StringMatcher;
import java.io.StringReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.HexFormat;
import java.util.Map;

/** Signs and verifies with sigstore-java, unmodified: gRPC over TLS. */
public final class Client {
  private static final byte[] ARTIFACT = "an artifact\n".getBytes();
  private static JsonObject scene;
  private static Path directory;
  private static Path signingConfig;

  private interface Act {
    void run() throws Exception;
  }

  private static void test(String name, Act act) {
    try {
      act.run();
      System.out.println("ok " + name);
    } catch (Exception | AssertionError error) {
      System.out.println("not ok " + name + ": "
          + reasons(error).replace('\n', ' '));
    }
  }

  /** What an exception and those behind it say. */
  private static String reasons(Throwable error) {
    StringBuilder all = new StringBuilder();
    for (; error != null; error = error.getCause()) {
      all.append(error).append("; ");
    }
    return all.toString();
  }

  private static void refused(String name, String why, Act act) {
    test(name, () -> {
      try {
        act.run();
      } catch (Exception expected) {
        if (!reasons(expected).contains(why)) {
          throw expected;
        }
        return;
      }
      throw new AssertionError("nothing was wrong");
    });
  }

  private static String text(JsonObject from, String name) {
    return from.get(name).getAsString();
  }

  private static String post(String url, JsonElement body)
      throws Exception {
    HttpResponse<String> answer = HttpClient.newHttpClient().send(
        HttpRequest.newBuilder(URI.create(url))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body.toString()))
            .build(),
        HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() >= 300) {
      throw new IllegalStateException(url + ": " + answer.body());
    }
    return answer.body();
  }

  private static byte[] digest() throws Exception {
    return MessageDigest.getInstance("SHA-256").digest(ARTIFACT);
  }

  private static String statement() throws Exception {
    return "{\"_type\":\"https://in-toto.io/Statement/v1\","
        + "\"subject\":[{\"name\":\"artifact\",\"digest\":{\"sha256\":\""
        + HexFormat.of().formatHex(digest()) + "\"}}],"
        + "\"predicateType\":\"https://example.com/predicate\","
        + "\"predicate\":{}}";
  }

  /** An OIDC client for one identity; the library signs its name. */
  private static final class Issuer implements OidcClient {
    private final JsonObject identity;
    private final String audience;

    Issuer(JsonObject identity, String audience) {
      this.identity = identity;
      this.audience = audience;
    }

    @Override
    public boolean isEnabled(Map<String, String> environment) {
      return true;
    }

    @Override
    public OidcToken getIDToken(Map<String, String> environment) {
      JsonObject claims = identity.getAsJsonObject("claims").deepCopy();
      claims.addProperty("aud", audience);
      try {
        return ImmutableOidcToken.builder()
            .idToken(post(text(scene, "issuer") + "/token", claims).trim())
            .issuer(text(scene, "issuer"))
            .subjectAlternativeName(text(identity, "challenge"))
            .build();
      } catch (Exception error) {
        throw new IllegalStateException(error);
      }
    }
  }

  private static KeylessSigner signer(JsonObject identity, String audience,
      SigningAlgorithm algorithm) throws Exception {
    return KeylessSigner.builder()
        .trustedRootProvider(TrustedRootProvider.from(
            Path.of(text(scene, "trusted_root"))))
        .signingConfigProvider(SigningConfigProvider.from(signingConfig))
        .forceCredentialProviders(
            OidcClients.of(new Issuer(identity, audience)))
        .signingAlgorithm(algorithm)
        .enableRekorV2(true)
        .build();
  }

  private static String sign(JsonObject identity) throws Exception {
    try (KeylessSigner signer = signer(identity, "sigstore",
        SigningAlgorithm.PKIX_ECDSA_P256_SHA_256)) {
      return signer.sign(digest()).toJson();
    }
  }

  private static void verify(String bundle, String root, String san,
      byte[] digest) throws Exception {
    CertificateMatcher who = CertificateMatcher.fulcio()
        .issuer(StringMatcher.string(text(scene, "issuer")))
        .subjectAlternativeName(StringMatcher.string(san))
        .build();
    KeylessVerifier.builder()
        .trustedRootProvider(TrustedRootProvider.from(Path.of(root)))
        .build()
        .verify(digest, Bundle.from(new StringReader(bundle)),
            VerificationOptions.builder()
                .addCertificateMatchers(who).build());
  }

  private static void positive(JsonObject identity) {
    String name = text(identity, "name");
    String san = text(identity, "san");
    test("artifact as " + name, () -> verify(sign(identity),
        text(scene, "trusted_root"), san, digest()));
    test("statement as " + name, () -> {
      try (KeylessSigner signer = signer(identity, "sigstore",
          SigningAlgorithm.PKIX_ECDSA_P256_SHA_256)) {
        verify(signer.attest(statement()).toJson(),
            text(scene, "trusted_root"), san, digest());
      }
    });
  }

  private static void negative(JsonObject identity) throws Exception {
    String bundle = sign(identity);
    String san = text(identity, "san");
    String root = text(scene, "trusted_root");
    verify(bundle, root, san, digest());
    JsonObject wrong = scene.getAsJsonObject("wrong_roots");
    for (String name : wrong.keySet()) {
      refused("refuses " + name, "", () -> verify(bundle,
          text(wrong, name), san, digest()));
    }
    refused("refuses another identity", "", () -> verify(bundle, root,
        "mallory@example.com", digest()));
    refused("refuses another artifact", "", () -> verify(bundle, root, san,
        new byte[32]));
    refused("hears that the audience is wrong",
        "INVALID_ARGUMENT: There was an error processing the identity token",
        () -> {
          try (KeylessSigner signer = signer(identity, "somebody else",
              SigningAlgorithm.PKIX_ECDSA_P256_SHA_256)) {
            signer.sign(digest());
          }
        });
  }

  /** This client takes a log index of 0 for none. */
  private static void seed() throws Exception {
    post(text(scene, "standin") + "/api/v2/log/entries",
        JsonParser.parseString("{\"hashedRekordRequestV002\":{"
            + "\"digest\":\"\",\"signature\":{\"content\":\"\","
            + "\"verifier\":{\"keyDetails\":\"PKIX_ECDSA_P256_SHA_256\"}"
            + "}}}"));
  }

  private static void trust(Path certificate) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    try (var in = Files.newInputStream(certificate)) {
      store.setCertificateEntry("fulcio",
          CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    Path file = directory.resolve("trust.p12");
    try (var out = Files.newOutputStream(file)) {
      store.store(out, "password".toCharArray());
    }
    System.setProperty("javax.net.ssl.trustStore", file.toString());
    System.setProperty("javax.net.ssl.trustStorePassword", "password");
    System.setProperty("javax.net.ssl.trustStoreType", "PKCS12");
  }

  /** The signing configuration, with gRPC's address for the CA's. */
  private static void configure() throws Exception {
    JsonObject config = JsonParser.parseString(Files.readString(
        Path.of(text(scene, "trust_config")))).getAsJsonObject()
        .getAsJsonObject("signingConfig");
    JsonArray urls = config.getAsJsonArray("caUrls");
    urls.get(0).getAsJsonObject().addProperty("url",
        "https://" + text(scene, "grpc"));
    signingConfig = directory.resolve("signing_config.json");
    Files.writeString(signingConfig, new Gson().toJson(config));
  }

  public static void main(String[] arguments) throws Exception {
    Path file = Path.of(arguments[0]);
    scene = JsonParser.parseString(Files.readString(file))
        .getAsJsonObject();
    directory = Files.createTempDirectory(file.getParent(), "java");
    trust(Path.of(text(scene, "tls_certificate")));
    configure();
    seed();
    JsonArray identities = scene.getAsJsonArray("identities");
    for (JsonElement identity : identities) {
      positive(identity.getAsJsonObject());
    }
    JsonObject first = identities.get(0).getAsJsonObject();
    test("artifact with an RSA key", () -> {
      try (KeylessSigner signer = signer(first, "sigstore",
          SigningAlgorithm.PKIX_RSA_PKCS1V15_2048_SHA256)) {
        verify(signer.sign(digest()).toJson(), text(scene, "trusted_root"),
            text(first, "san"), digest());
      }
    });
    test("negative controls", () -> negative(first));
    System.exit(0);
  }
}
