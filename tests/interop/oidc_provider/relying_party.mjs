// An independent relying party (openid-client, certified) that signs in at an issuer, for the interop tests.
// Usage: node relying_party.mjs ISSUER RESOURCE; the issuer approves by itself. It prints one JSON object.
import * as client from 'openid-client';

const [issuer, resource] = process.argv.slice(2);
const scope = 'openid profile email groups offline_access';
const config = await client.discovery(
  new URL(issuer), 'ztsa-cli', { id_token_signed_response_alg: 'ES256' }, client.None(),
  { execute: [client.allowInsecureRequests] },
);
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'));

// RFC 8628
const code = await client.initiateDeviceAuthorization(config, { scope, resource });
const device = await client.pollDeviceAuthorizationGrant(config, code, undefined, { DPoP });
const claims = device.claims();
const userinfo = await client.fetchUserInfo(config, device.access_token, claims.sub, { DPoP }).catch((error) => ({ error: error.message }));

// RFC 6749 section 6, with rotation: the old token is spent
const renewed = await client.refreshTokenGrant(config, device.refresh_token, { resource }, { DPoP });
const reused = await client.refreshTokenGrant(config, device.refresh_token, { resource }, { DPoP })
  .then(() => 'accepted', (error) => error.error);

// RFC 8252 and 7636
const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const redirect = 'http://127.0.0.1:45678/callback';
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: redirect, scope, resource, state,
  code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
});
const answer = await fetch(url, { redirect: 'manual' });
const callback = new URL(answer.headers.get('location'), url);
const browser = await client.authorizationCodeGrant(
  config, callback, { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true }, { resource }, { DPoP },
);

console.log(JSON.stringify({
  device: { type: device.token_type, sub: claims.sub, groups: claims.groups },
  userinfo,
  renewed: { type: renewed.token_type, rotated: renewed.refresh_token !== device.refresh_token },
  reused,
  browser: { type: browser.token_type, sub: browser.claims().sub },
}));
