// A certified OpenID provider with its own sign-in and consent pages, for the interop tests.
// Usage: node provider.mjs PORT AUDIENCE OPTIONS; it prints "ready" when it listens. OPTIONS is JSON:
//   dpop    "nonce": supported, with nonces; "plain": supported, without; "none": every token is a bearer's
//   format  "jwt" or "opaque": what access tokens are; opaque ones are for introspection by the client ztsa-gateway
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import Provider, { interactionPolicy } from 'oidc-provider';

const [port, audience, options] = process.argv.slice(2);
const { dpop, format } = JSON.parse(options);
const issuer = `http://127.0.0.1:${port}`;
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const groups = { alice: ['dev'], bob: ['ops'] };

// a client that asks for a stronger sign-in than the browser's session has is led to the sign-in page (RFC 9470)
const { Check, base } = interactionPolicy;
const policy = base();
const wanted = (asked) => asked?.split(' ').includes('mfa');
policy.get('login').checks.add(new Check('acr_values', 'a second factor is wanted', ({ oidc }) =>
  (wanted(oidc.params.acr_values) && oidc.session.acr !== 'mfa' ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT)));

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'ztsa-cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    redirect_uris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
    response_types: ['code'],
  }, {
    client_id: 'ztsa-gateway',
    client_secret: 'introspection-secret',
    grant_types: [],
    redirect_uris: [],
    response_types: [],
  }],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256', kid: 'one' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  acrValues: ['pwd', 'mfa'],
  claims: {
    openid: ['sub', 'acr', 'amr', 'auth_time'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'],
  },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, email: `${id}@example.com`, email_verified: true, groups: groups[id] ?? [] }),
  }),
  interactions: { policy },
  rotateRefreshToken: true,
  // offline_access by itself is heeded only with prompt=consent (OpenID Connect Core 1.0, 11); this client may stay signed in
  issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
  features: {
    deviceFlow: { enabled: true },
    dPoP: dpop === 'none'
      ? { enabled: false }
      : { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => dpop === 'nonce' },
    introspection: { enabled: true, allowedPolicy: (_, client) => client.clientId === 'ztsa-gateway' },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: '',
        accessTokenFormat: format,
        // a client that looks a minute ahead refreshes it a few seconds after it was issued
        accessTokenTTL: 63,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
    revocation: { enabled: true },
  },
  ttl: { AccessToken: 63, DeviceCode: 300, Grant: 3600, IdToken: 300, Interaction: 300, RefreshToken: 3600, Session: 300 },
});

// the issuer's own sign-in page takes any password, and for a second factor its word: what it says of it is what is wanted here
provider.use(async (ctx, next) => {
  if (ctx.method === 'POST' && /^\/interaction\/[^/]+$/.test(ctx.path)) {
    const { prompt, params } = await provider.interactionDetails(ctx.req, ctx.res);
    if (prompt.name === 'login' && wanted(params.acr_values)) {
      const body = new URLSearchParams(Buffer.concat(await ctx.req.toArray()).toString());
      const login = { accountId: body.get('login'), acr: 'mfa', amr: ['pwd', 'otp', 'mfa'] };
      await provider.interactionFinished(ctx.req, ctx.res, { login }, { mergeWithLastSubmission: false });
      ctx.respond = false;
      return;
    }
  }
  await next();
});

for (const event of ['server_error', 'grant.error', 'device_code.rejected', 'grant.revoked', 'authorization.error', 'revocation.error']) {
  provider.on(event, (_, error) => console.error(event, error?.message, error?.error_description ?? '', error?.error_detail ?? ''));
}
provider.on('grant.success', ({ oidc, headers }) => console.error('granted', oidc.params.grant_type, 'dpop' in headers ? 'by proof' : 'bare'));
provider.on('refresh_token.destroyed', () => console.error('refresh token destroyed'));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
