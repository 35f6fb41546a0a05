// Stands between ztsa and its gateway and judges every DPoP proof by jose, which others wrote (RFC 9449 section 4.3), for the
// interop tests. Usage: node witness.mjs PORT GATEWAY CERT KEY; the gateway's authority is in NODE_EXTRA_CA_CERTS.
// It prints a line for each request: its method and path, and "proven", "bare" or what is wrong.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { EmbeddedJWK, calculateJwkThumbprint, decodeJwt, jwtVerify } from 'jose';

const [port, gateway, cert, key] = process.argv.slice(2);
const used = new Set();

async function judge(headers, form) {
  if (!headers.dpop) return headers.authorization ? 'a token without a proof' : 'bare';
  const { payload, protectedHeader } = await jwtVerify(headers.dpop, EmbeddedJWK, {
    typ: 'dpop+jwt', algorithms: ['ES256'], maxTokenAge: '1 minute', clockTolerance: 5, requiredClaims: ['jti', 'htm', 'htu', 'iat'],
  });
  if ('d' in protectedHeader.jwk) return 'a private key in the proof';
  if (payload.htm !== headers[':method']) return `htm ${payload.htm}`;
  if (payload.htu !== `https://${headers[':authority']}${headers[':path'].split('?')[0]}`) return `htu ${payload.htu}`;
  if (payload.jti.length < 16 || used.has(payload.jti)) return `jti ${payload.jti}`;
  used.add(payload.jti);
  const hash = (token) => createHash('sha256').update(token).digest('base64url');
  // an exchange shows its token in the form (RFC 8693): the proof is for that one
  if (!headers.authorization) return payload.ath === hash(form.get('subject_token')) ? 'proven' : `ath ${payload.ath}`;
  const [scheme, token] = headers.authorization.split(' ');
  if (scheme !== 'DPoP') return `the scheme ${scheme}`;
  if (payload.ath !== hash(token)) return `ath ${payload.ath}`;
  if (decodeJwt(token).cnf.jkt !== await calculateJwkThumbprint(protectedHeader.jwk)) return 'the key of another token';
  return 'proven';
}

const upstream = http2.connect(gateway);
const connected = new Promise((done) => { upstream.once('remoteSettings', done); });
const options = { cert: readFileSync(cert), key: readFileSync(key), settings: { enableConnectProtocol: true } };
const server = http2.createSecureServer(options);
server.on('sessionError', () => {});
server.on('stream', async (stream, headers) => {
  await connected;
  const isForm = headers['content-type']?.startsWith('application/x-www-form-urlencoded');
  const body = isForm ? Buffer.concat(await stream.toArray()) : undefined;
  const verdict = await judge(headers, new URLSearchParams(body?.toString())).catch((error) => error.message);
  console.log(headers[':method'], headers[':path'], verdict);
  const request = upstream.request(headers, { endStream: false });
  request.on('response', (answer) => { if (!stream.closed) { stream.respond(answer); request.pipe(stream); } });
  if (isForm) request.end(body); else stream.pipe(request);
  for (const [one, other] of [[stream, request], [request, stream]]) {
    one.on('error', () => {});
    one.on('close', () => { if (one.rstCode) other.close(one.rstCode); });
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log('ready'));
