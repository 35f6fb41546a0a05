// A client that shares no line with ztsa: public libraries, the standards and the gateway's URL, for the interop tests.
// Usage: node outsider.mjs GATEWAY APP GUARDED; the gateway's authority is in NODE_EXTRA_CA_CERTS. GUARDED is an app that wants
// a stronger sign-in. It prints one JSON object.
import http2 from 'node:http2';
import * as oauth from 'oauth4webapi';
import { generateProof } from 'dpop';
import { calculateJwkThumbprint, decodeJwt, exportJWK } from 'jose';
import { visitor } from './visitor.mjs';

const [gateway, app, guarded] = process.argv.slice(2);
const insecure = { [oauth.allowInsecureRequests]: true };
const report = {};

// RFC 9728: what the gateway says of itself, and who signs people in for it
const resource = await oauth.processResourceDiscoveryResponse(new URL(gateway), await oauth.resourceDiscoveryRequest(new URL(gateway)));
const issuer = new URL(resource.authorization_servers[0]);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
// who a program is to the issuer is outside of RFC 9728: the gateway says it in a member of its own
const { client_id, scopes } = resource.ztsa.issuers[0];
const client = { client_id, id_token_signed_response_alg: 'ES256' };
const key = await oauth.generateKeyPair('ES256', { extractable: true });
const device = await calculateJwkThumbprint(await exportJWK(key.publicKey));
const DPoP = oauth.DPoP(client, key);
const browser = visitor(issuer.href.replace(/\/$/, ''));
report.discovery = { resource: resource.resource === gateway, dpop: resource.dpop_bound_access_tokens_required, header: resource.bearer_methods_supported };

// a server hands out its nonce with its first refusal: one repetition
async function withNonce(ask) {
  try { return await ask(); } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return ask();
  }
}

// RFC 6749 section 4.1 with PKCE, iss, nonce and DPoP
async function signIn(wishes) {
  const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()];
  const redirect_uri = 'http://127.0.0.1:45679/callback';
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    response_type: 'code', client_id, redirect_uri, scope: scopes.join(' '), resource: resource.resource, state, nonce, ...wishes,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const { at } = await browser(url);
  const answer = oauth.validateAuthResponse(server, client, at, state);
  return withNonce(async () => oauth.processAuthorizationCodeResponse(
    server, client,
    await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), answer, redirect_uri, verifier, {
      DPoP, additionalParameters: { resource: resource.resource }, ...insecure,
    }),
    { expectedNonce: nonce, requireIdToken: true },
  ));
}

// RFC 8693: the issuer's tokens become a session at the gateway
const exchanger = { issuer: resource.resource, token_endpoint: resource.ztsa.token_endpoint };
const exchange = ({ access_token, id_token }, more = {}) => withNonce(async () => oauth.processGenericTokenEndpointResponse(
  exchanger, client,
  await oauth.genericTokenEndpointRequest(exchanger, client, oauth.None(), 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', id_token, ...more,
  }, { DPoP }),
));
let session = await exchange(await signIn({}));
const claims = decodeJwt(session.access_token);
report.session = { type: session.token_type, issued: session.issued_token_type, bound: claims.cnf.jkt === device, acr: claims.acr ?? null, signed_in: typeof claims.auth_time };

// RFC 9449 section 7: the API
const asked = await withNonce(() => oauth.protectedResourceRequest(session.access_token, 'GET', new URL(resource.ztsa.apps_endpoint), undefined, undefined, { DPoP }));
const list = await asked.json();
report.apps = list.apps.map(({ name, access }) => [name, access.state]).sort();
report.bearer = (await fetch(resource.ztsa.apps_endpoint, { headers: { authorization: `Bearer ${session.access_token}` } })).status;

// draft-ietf-httpbis-connect-tcp over RFC 8441, its bytes in capsules of RFC 9297
const [DATA, FINAL_DATA] = [0x2028d7f2, 0x2028d7f3];
const capsule = (kind, bytes) => {
  const head = Buffer.alloc(8);
  head.writeUInt32BE((kind | 0x80000000) >>> 0, 0);
  head.writeUInt32BE((bytes.length | 0x80000000) >>> 0, 4);
  return Buffer.concat([head, bytes]);
};
const varint = (buffer, at) => {
  if (at >= buffer.length) return undefined;
  const size = 1 << (buffer[at] >> 6);
  if (at + size > buffer.length) return undefined;
  let value = BigInt(buffer[at] & 0x3f);
  for (let i = 1; i < size; i += 1) value = value * 256n + BigInt(buffer[at + i]);
  return [Number(value), at + size];
};
function capsules(stream) {
  let [rest, bytes, finished] = [Buffer.alloc(0), [], false];
  return new Promise((done, fail) => {
    stream.on('data', (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const kind = varint(rest, 0);
        const length = kind && varint(rest, kind[1]);
        if (!length || rest.length < length[1] + length[0]) break;
        const value = rest.subarray(length[1], length[1] + length[0]);
        rest = rest.subarray(length[1] + length[0]);
        if (kind[0] === DATA || kind[0] === FINAL_DATA) bytes.push(value);
        finished ||= kind[0] === FINAL_DATA;
      }
    });
    stream.on('end', () => (finished ? done(Buffer.concat(bytes).toString()) : fail(new Error('the tunnel was cut'))));
    stream.on('error', fail);
  });
}

const connection = http2.connect(gateway);
await new Promise((ready, fail) => { connection.on('remoteSettings', ready); connection.on('error', fail); });
report.extended_connect = connection.remoteSettings.enableConnectProtocol;
let nonce;
async function tunnel(name, send) {
  const url = resource.ztsa.tunnel_template.replace('{target_host}', name).replace('{target_port}', '80');
  const { host, pathname } = new URL(url);
  for (let attempt = 0; ; attempt += 1) {
    const stream = connection.request({
      ':method': 'CONNECT', ':protocol': 'connect-tcp', ':scheme': 'https', ':authority': host, ':path': pathname, 'capsule-protocol': '?1',
      authorization: `DPoP ${session.access_token}`,
      dpop: await generateProof(key, url, 'CONNECT', nonce, session.access_token),
    }, { endStream: false });
    const head = await new Promise((done, fail) => { stream.on('response', done); stream.on('error', fail); });
    nonce = head['dpop-nonce'] ?? nonce;
    const challenge = head['www-authenticate'] ?? '';
    if (head[':status'] === 401 && challenge.includes('use_dpop_nonce') && attempt === 0) { stream.close(); continue; }
    if (head[':status'] !== 200) {
      const value = (parameter) => new RegExp(`${parameter}="?([^",]+)`).exec(challenge)?.[1];
      stream.close();
      return { status: head[':status'], error: value('error'), acr_values: value('acr_values'), max_age: value('max_age') };
    }
    const answer = capsules(stream);
    // in pieces, and closed by this side: the app's answer comes all the same
    for (const piece of send.slice(0, -1)) stream.write(capsule(DATA, Buffer.from(piece)));
    stream.end(capsule(FINAL_DATA, Buffer.from(send.at(-1))));
    return { status: 200, capsules: head['capsule-protocol'], text: await answer };
  }
}
const request = ['GET / HT', 'TP/1.0\r\n', '\r\n'];
report.tunnel = await tunnel(app, request);
report.unknown = (await tunnel('nowhere', request)).status;

// RFC 9470: a stronger sign-in is wanted, and then it does
const wanted = await tunnel(guarded, request);
report.step_up = wanted;
session = await exchange(await signIn({ acr_values: wanted.acr_values, max_age: wanted.max_age }), { session: claims.sid });
const stronger = decodeJwt(session.access_token);
report.stepped_up = { same_session: stronger.sid === claims.sid, acr: stronger.acr, status: (await tunnel(guarded, request)).status };
connection.close();
console.log(JSON.stringify(report));
