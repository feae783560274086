// A certified OpenID Connect provider for tests: two issuers in one process, whose ports it prints as one line of JSON.
//
// `own` is what a browser reaches by the issuer that it is given; its ID tokens hold every claim. `thin` has an issuer of
// its own port; its ID tokens hold the subject alone, are signed by ES256, and its client sends the secret in the form.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const given = JSON.parse(process.argv[2]);

const key = (kind, options, alg) => {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' };
};
const keys = [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')];

const serve = async (issuer, client, more) => {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();
  const provider = new Provider(issuer ?? `http://127.0.0.1:${port}`, {
    clients: [{ ...given.client, ...client }],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username'], groups: ['groups'] },
    cookies: { keys: ['of the tests'] },
    jwks: { keys },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: async (_, id) => given.accounts[id] && {
      accountId: id,
      claims: async () => ({ sub: id, ...given.accounts[id] }),
    },
    // the school's own console needs nobody's consent
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope('openid profile groups');
      await grant.save();
      return grant;
    },
    ...more,
  });
  server.on('request', provider.callback());
  return port;
};

const own = await serve(given.issuer, {}, { conformIdTokenClaims: false });
const thin = await serve(
  null,
  { id_token_signed_response_alg: 'ES256', token_endpoint_auth_method: 'client_secret_post' },
  { clientAuthMethods: ['client_secret_post'] },
);
// it ends with its parent
process.stdin.on('end', () => process.exit()).resume();
console.log(JSON.stringify({ own, thin }));
