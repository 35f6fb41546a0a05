// A person whose browser keeps cookies and runs no script, at the pages of an issuer.

// Returns a function that opens an address and fills in and sends each form, until the browser is sent away from the issuer
// or a page has no form; it tells that address, the titles on the way (with "+ code" where a second factor was asked for),
// and the last page. `wishes` overrides what is filled in.
export function visitor(issuer) {
  const cookies = new Map();
  const plain = (html) => html.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'");
  const known = { name: 'alice', login: 'alice', password: 'alice', code: '000000' };
  return async (url, wishes = {}) => {
    let [at, body] = [new URL(url), undefined];
    const seen = [];
    for (let step = 0; step < 20; step += 1) {
      const headers = { cookie: [...cookies].map((pair) => pair.join('=')).join('; ') };
      const answer = await fetch(at, { method: body ? 'POST' : 'GET', body, headers, redirect: 'manual' });
      for (const cookie of answer.headers.getSetCookie()) cookies.set(...cookie.split(';')[0].split(/=(.*)/s));
      const location = answer.headers.get('location');
      if (location) {
        [at, body] = [new URL(location, at), undefined];
        if (!at.href.startsWith(issuer)) return { at, seen };
        continue;
      }
      const page = await answer.text();
      seen.push(/<title>(.*?)<\/title>/.exec(page)?.[1] + (page.includes('name="code"') ? ' + code' : ''));
      const form = /<form.*?action="(.*?)".*?<\/form>/s.exec(page);
      if (!form) return { at, seen, page };
      body = new URLSearchParams();
      for (const [tag] of form[0].matchAll(/<input.*?>/gs)) {
        const name = /name="(.*?)"/.exec(tag)?.[1];
        if (name) body.set(name, wishes[name] ?? known[name] ?? plain(/value="(.*?)"/.exec(tag)?.[1] ?? ''));
      }
      if (form[0].includes('name="decision"')) body.set('decision', wishes.decision ?? 'approve');
      at = new URL(plain(form[1]), at);
    }
    throw new Error(`no end at ${at}: ${seen}`);
  };
}
