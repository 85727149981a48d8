// A device with Node: two visits, the second with the session of the first.
//
// Arguments: port, trust anchor, chain, key, and 1.2 or 1.3. Says the status line of each answer.

import { readFileSync } from "node:fs";
import { connect } from "node:tls";

const [port, anchor, chain, key, version] = process.argv.slice(2);
let session;

const visit = () =>
  new Promise((resolve, reject) => {
    let answer = "";
    const tls = connect({
      port: Number(port),
      host: "127.0.0.1",
      servername: "gateway.test",
      ca: readFileSync(anchor),
      cert: readFileSync(chain),
      key: readFileSync(key),
      minVersion: `TLSv${version}`,
      maxVersion: `TLSv${version}`,
      session,
    });
    tls.setEncoding("latin1");
    tls.on("session", (fresh) => (session = fresh));
    tls.on("data", (piece) => (answer += piece));
    tls.on("error", reject);
    tls.on("end", () => resolve(answer.split("\r\n")[0]));
    tls.write("GET / HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n");
  });

try {
  console.log(await visit());
  console.log(await visit());
} catch (error) {
  console.error(`${error.code}: ${error.message}`);
  process.exit(1);
}
