// Signs and verifies with @sigstore/sign and @sigstore/verify, unmodified.
// Prints a line a case: "ok NAME" or "not ok NAME: reason".
import { readFileSync } from "node:fs";
import { bundleFromJSON, bundleToJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import {
  DSSEBundleBuilder, FulcioSigner, MessageSignatureBundleBuilder,
  RekorWitness, TSAWitness,
} from "@sigstore/sign";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";

const scene = JSON.parse(readFileSync(process.argv[2], "utf8"));
const artifact = Buffer.from("an artifact\n");
const statement = {
  type: "application/vnd.in-toto+json",
  data: Buffer.from(JSON.stringify({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ name: "artifact", digest: { sha256: "00" } }],
    predicateType: "https://example.com/predicate",
    predicate: {},
  })),
};

async function token(claims) {
  const answer = await fetch(`${scene.issuer}/token`,
    { method: "POST", body: JSON.stringify(claims) });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(text);
  return text;
}

async function sign(claims, Builder, content) {
  const builder = new Builder({
    signer: new FulcioSigner({
      fulcioBaseURL: scene.fulcio,
      identityProvider: { getToken: () => token(claims) },
    }),
    witnesses: [
      new TSAWitness({ tsaBaseURL: scene.standin }),
      new RekorWitness({ rekorBaseURL: scene.standin, majorApiVersion: 2 }),
    ],
  });
  const bundle = await builder.create(content);
  return bundleFromJSON(JSON.parse(JSON.stringify(bundleToJSON(bundle))));
}

function verify(bundle, san, data, rootFile = scene.trusted_root) {
  const root = TrustedRoot.fromJSON(JSON.parse(readFileSync(rootFile, "utf8")));
  const verifier = new Verifier(toTrustMaterial(root),
    { ctlogThreshold: 1, tlogThreshold: 1, timestampThreshold: 1 });
  verifier.verify(toSignedEntity(bundle, data),
    { subjectAlternativeName: san, extensions: { issuer: scene.issuer } });
}

async function report(name, run) {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    const cause = error.cause ? ` (${error.cause.message})` : "";
    const text = `${error.name}: ${error.message}${cause}`;
    console.log(`not ok ${name}: ${text.replace(/\s+/g, " ")}`);
  }
}

async function refused(name, run) {
  await report(name, async () => {
    try {
      await run();
    } catch {
      return;
    }
    throw new Error("it was accepted");
  });
}

for (const { name, claims, san } of scene.identities) {
  await report(`artifact as ${name}`, async () => {
    const bundle = await sign(claims, MessageSignatureBundleBuilder,
      { data: artifact });
    verify(bundle, san, artifact);
  });
  await report(`statement as ${name}`, async () => {
    verify(await sign(claims, DSSEBundleBuilder, statement), san);
  });
}

const { claims, san } = scene.identities[0];
await report("negative controls", async () => {
  const bundle = await sign(claims, MessageSignatureBundleBuilder,
    { data: artifact });
  verify(bundle, san, artifact);
  for (const [name, file] of Object.entries(scene.wrong_roots)) {
    await refused(`refuses ${name}`,
      () => verify(bundle, san, artifact, file));
  }
  await refused("refuses another identity",
    () => verify(bundle, "mallory@example.com", artifact));
  await refused("refuses another artifact",
    () => verify(bundle, san, Buffer.from("another")));
});
await refused("hears that the audience is wrong",
  () => sign({ sub: "alice", aud: "elsewhere" },
    MessageSignatureBundleBuilder, { data: artifact }));
