// An independent relying party (openid-client, certified; oauth4webapi and jose beside it) that signs in at an issuer with
// all that it knows, for the interop tests.
// Usage: node relying_party.mjs ISSUER RESOURCE; alice signs in at the issuer's pages. It prints one JSON object.
import * as client from 'openid-client';
import * as oauth from 'oauth4webapi';
import { generateProof } from 'dpop';
import { visitor } from './visitor.mjs';
import { calculateJwkThumbprint, exportJWK } from 'jose';

const [issuer, resource] = process.argv.slice(2);
const scope = 'openid profile email groups offline_access';
const redirect = 'http://127.0.0.1:45678/callback';
const insecure = { execute: [client.allowInsecureRequests] };
const report = {};
const refused = (promise) => promise.then(() => 'accepted', (error) => error.error ?? error.cause?.error ?? error.cause?.[0]?.parameters?.error ?? error.code);

// discovery, at both well-known places (OpenID Connect Discovery 1.0, RFC 8414)
const config = await client.discovery(new URL(issuer), 'ztsa-cli', { id_token_signed_response_alg: 'ES256' }, client.None(), insecure);
const plain = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', [oauth.allowInsecureRequests]: true });
const server = await oauth.processDiscoveryResponse(new URL(issuer), plain);
report.discovery = { same: server.token_endpoint === config.serverMetadata().token_endpoint, pkce: config.serverMetadata().supportsPKCE() };
const gateway = await client.discovery(new URL(issuer), 'ztsa-gateway', 'ztsa-gateway', client.ClientSecretBasic('ztsa-gateway'), insecure);
const key = await client.randomDPoPKeyPair('ES256', { extractable: true });
const thumbprint = await calculateJwkThumbprint(await exportJWK(key.publicKey));
const DPoP = client.getDPoPHandle(config, key);
const other = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));

const browser = () => visitor(issuer);
const visit = browser();

// the code flow with state, nonce, iss and max_age (OpenID Connect Core 3.1, RFC 7636, RFC 9207)
async function ask(wishes, person = visit, decision = undefined) {
  const [verifier, state, nonce] = [client.randomPKCECodeVerifier(), client.randomState(), client.randomNonce()];
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirect, scope, resource, state, nonce, ...wishes,
    code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const { at, seen } = await person(url, { decision });
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  if (wishes.max_age !== undefined) checks.maxAge = Number(wishes.max_age);
  return { at, seen, checks };
}
const redeem = ({ at, checks }) => client.authorizationCodeGrant(config, at, checks, { resource }, { DPoP });

const first = await ask({ max_age: '300' });
const signedIn = await redeem(first);
const claims = signedIn.claims();
report.code = { type: signedIn.token_type, sub: claims.sub, acr: claims.acr, amr: claims.amr, groups: claims.groups, iss: first.at.searchParams.get('iss') === issuer, pages: first.seen };
report.denied = await refused(redeem(await ask({ prompt: 'login' }, browser(), 'deny')));

// step-up (RFC 9470): the same browser is asked for what it has not shown yet, and only for that request
const stronger = await ask({ acr_values: 'mfa', max_age: '60' });
const strong = await redeem(stronger);
report.step_up = { pages: stronger.seen, acr: strong.claims().acr, amr: strong.claims().amr, fresh: strong.claims().auth_time >= claims.auth_time };
const again = await ask({ prompt: 'login' });
report.prompt_login = again.seen;
report.prompt_none = await refused(redeem(await ask({ prompt: 'none' })));

// the access token as a resource server that others wrote checks it (RFC 9068, RFC 9449)
const request = new Request(`${resource}/apps`, { headers: {
  authorization: `DPoP ${strong.access_token}`,
  dpop: await generateProof(key, `${resource}/apps`, 'GET', undefined, strong.access_token),
} });
const access = await oauth.validateJwtAccessToken(server, request, resource, { requireDPoP: true, [oauth.allowInsecureRequests]: true });
report.access = { acr: access.acr, client: access.client_id, bound: access.cnf.jkt === thumbprint };

// a code is good once, by its verifier; the second use ends what the first gave
const spent = await ask({});
report.wrong_verifier = await refused(redeem({ at: spent.at, checks: { ...spent.checks, pkceCodeVerifier: client.randomPKCECodeVerifier() } }));
const once = await ask({});
const tokens = await redeem(once);
report.code_twice = await refused(redeem(once));
report.after_code_twice = (await client.tokenIntrospection(gateway, tokens.access_token)).active;

// the device flow, too eager at first (RFC 8628 3.5)
const code = await client.initiateDeviceAuthorization(config, { scope, resource });
const poll = async () => {
  const asked = await oauth.deviceCodeGrantRequest(server, { client_id: 'ztsa-cli' }, oauth.None(), code.device_code, { [oauth.allowInsecureRequests]: true });
  return (await asked.json()).error;
};
report.eager = [await poll(), await poll()];
const waiting = client.pollDeviceAuthorizationGrant(config, { ...code, interval: 6 }, undefined, { DPoP });
report.approved = (await visit(code.verification_uri_complete)).seen.at(-1);
const device = await waiting;
report.device = { type: device.token_type, sub: device.claims().sub, groups: device.claims().groups };
const no = await client.initiateDeviceAuthorization(config, { scope, resource });
await visit(no.verification_uri_complete, { decision: 'deny' });
report.device_denied = await refused(client.pollDeviceAuthorizationGrant(config, no, undefined, { DPoP }));

// userinfo, for who holds the key alone
const info = await client.fetchUserInfo(config, device.access_token, 'alice', { DPoP });
report.userinfo = { email: info.email, groups: info.groups };
report.userinfo_other_key = await refused(client.fetchUserInfo(config, device.access_token, 'alice', { DPoP: other }));
report.userinfo_bearer = await refused(client.fetchUserInfo(config, device.access_token, 'alice'));

// introspection (RFC 7662)
const answer = await client.tokenIntrospection(gateway, device.access_token);
report.introspection = { active: answer.active, sub: answer.sub, bound: answer.cnf.jkt === thumbprint, audience: answer.aud };
report.introspection_public = await refused(client.tokenIntrospection(config, device.access_token));

// refresh with rotation: by the key it is bound to, and never twice (RFC 6749 section 6, RFC 9700 section 4.14)
report.refresh_other_key = await refused(client.refreshTokenGrant(config, device.refresh_token, { resource }, { DPoP: other }));
const renewed = await client.refreshTokenGrant(config, device.refresh_token, { resource }, { DPoP });
report.renewed = { type: renewed.token_type, rotated: renewed.refresh_token !== device.refresh_token, same_sign_in: renewed.claims().auth_time === device.claims().auth_time };
report.reused = await refused(client.refreshTokenGrant(config, device.refresh_token, { resource }, { DPoP }));
report.family = await refused(client.refreshTokenGrant(config, renewed.refresh_token, { resource }, { DPoP }));

// revocation (RFC 7009)
const last = await redeem(await ask({}));
await client.tokenRevocation(gateway, last.refresh_token);
report.revoked_by_another_client = (await client.tokenIntrospection(gateway, last.access_token)).active;
await client.tokenRevocation(config, last.refresh_token);
report.revoked = { active: (await client.tokenIntrospection(gateway, last.access_token)).active, refresh: await refused(client.refreshTokenGrant(config, last.refresh_token, { resource }, { DPoP })) };

// signing out of the browser (OpenID Connect RP-Initiated Logout 1.0)
const end = client.buildEndSessionUrl(config, { id_token_hint: last.id_token, post_logout_redirect_uri: redirect, state: 'out' });
const out = await visit(end);
report.logout = out.at.href;
report.after_logout = (await ask({})).seen;

console.log(JSON.stringify(report));
