// A certified OpenID provider with its own sign-in and consent pages, for the interop tests.
// Usage: node provider.mjs PORT AUDIENCE; it prints "ready" when it listens.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

const [port, audience] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const groups = { alice: ['dev'], bob: ['ops'] };

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'ztsa-cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
    response_types: ['code'],
  }],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'one' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, email: `${id}@example.com`, email_verified: true, groups: groups[id] ?? [] }),
  }),
  rotateRefreshToken: true,
  features: {
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: '',
        accessTokenFormat: 'jwt',
        // a client that looks a minute ahead refreshes it a few seconds after it was issued
        accessTokenTTL: 63,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
    revocation: { enabled: true },
  },
  ttl: { AccessToken: 63, DeviceCode: 300, Grant: 3600, IdToken: 300, Interaction: 300, RefreshToken: 3600, Session: 300 },
});

for (const event of ['server_error', 'grant.error', 'device_code.rejected', 'grant.revoked', 'authorization.error']) {
  provider.on(event, (_, error) => console.error(event, error?.message, error?.error_description ?? '', error?.error_detail ?? ''));
}
provider.on('grant.success', ({ oidc, headers }) => console.error('granted', oidc.params.grant_type, 'dpop' in headers ? 'by proof' : 'bare'));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
