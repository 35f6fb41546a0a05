//! What the gateway says of itself to anyone: RFC 9728 protected resource metadata.

use ztsa_proto::metadata::{IssuerInfo, PATH, ResourceMetadata, VERSION, WorkloadInfo, Ztsa};
use ztsa_proto::posture::Wanted;

use crate::config::Config;

/// The template of a tunnel's path (the default of draft-ietf-httpbis-connect-tcp).
const TUNNEL: &str = "/.well-known/masque/tcp/{target_host}/{target_port}/";

/// Makes the document from the configuration, and from what policies want to know of devices.
pub fn document(config: &Config, posture: Vec<Wanted>) -> ResourceMetadata {
    let resource = config.resource();
    let at = |path: &str| format!("{resource}{path}");
    let issuers = config.issuers.iter().map(|issuer| IssuerInfo {
        issuer: issuer.issuer.clone(),
        name: issuer.name.clone(),
        client_id: issuer.client_id.clone(),
        scopes: issuer.scopes.clone(),
        resource: issuer.resource.clone(),
        device_flow: issuer.device_flow,
        browser_flow: issuer.browser_flow,
        redirect_host: issuer.redirect_host,
        redirect_port: issuer.redirect_port,
    });
    let mut workload: Vec<WorkloadInfo> = Vec::new();
    for table in &config.workloads {
        // several tables may take the same tokens; a job asks for one audience
        if !workload.iter().any(|known| known.issuer == table.issuer && known.audience == table.audience) {
            let (name, issuer, audience) = (table.name.clone(), table.issuer.clone(), table.audience.clone());
            workload.push(WorkloadInfo { name, issuer, audience });
        }
    }
    ResourceMetadata {
        resource_name: config.public_url.host_str().map(str::to_owned),
        authorization_servers: config.issuers.iter().map(|issuer| issuer.issuer.clone()).collect(),
        bearer_methods_supported: vec!["header".to_owned()],
        dpop_signing_alg_values_supported: vec!["ES256".to_owned()],
        dpop_bound_access_tokens_required: true,
        ztsa: Ztsa {
            version: VERSION,
            token_endpoint: at("/ztsa/v1/token"),
            session_endpoint: at("/ztsa/v1/session"),
            apps_endpoint: at("/ztsa/v1/apps"),
            grants_endpoint: at("/ztsa/v1/grants"),
            tickets_endpoint: at("/ztsa/v1/tickets"),
            why_endpoint: at("/ztsa/v1/why"),
            posture_endpoint: at("/ztsa/v1/posture"),
            events_endpoint: at("/ztsa/v1/events"),
            tunnel_template: at(TUNNEL),
            issuers: issuers.collect(),
            posture,
            workload,
        },
        resource,
    }
}

/// The document's URL, for `resource_metadata` in a challenge (RFC 9728 section 5.1).
pub fn url(resource: &str) -> String {
    format!("{resource}{PATH}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, ResourceMetadata, Wanted, document, url};

    #[test]
    fn a_client_accepts_the_document() {
        let text = "public_url = \"https://gw.example.com:8443\"\ntls = { cert = \"c\", key = \"k\" }\n\
            [[issuer]]\nname = \"a\"\nissuer = \"https://a.example\"\nclient_id = \"x\"\nbrowser_flow = false\n\
            [[issuer]]\nname = \"b\"\nissuer = \"https://b.example/\"\nclient_id = \"y\"\naudiences = [\"api\"]\n\
            [[workload]]\nname = \"c\"\nissuer = \"https://c.example\"\nmatch = { sub = \"1\" }\n\
            [[workload]]\nname = \"d\"\nissuer = \"https://c.example\"\nmatch = { sub = \"2\" }\n";
        let config = Config::parse(text, Path::new("/")).unwrap();
        let made = document(&config, vec![Wanted::from("disk.root")]);
        let read = ResourceMetadata::from_json(&serde_json::to_vec(&made).unwrap(), &config.public_url).unwrap();
        assert_eq!(read, made);
        assert_eq!(read.resource, "https://gw.example.com:8443");
        assert_eq!(read.authorization_servers, ["https://a.example", "https://b.example/"], "byte for byte");
        let [a, b] = read.ztsa.issuers.as_slice() else { panic!("{read:?}") };
        assert_eq!((a.resource.as_deref(), a.browser_flow), (Some("https://gw.example.com:8443"), false));
        assert_eq!(
            (b.resource.as_deref(), b.browser_flow),
            (None, true),
            "an audience of its own asks for no resource"
        );
        let [job] = read.ztsa.workload.as_slice() else { panic!("{read:?}") };
        assert_eq!((job.name.as_str(), job.audience.as_str()), ("c", "https://gw.example.com:8443"));
        assert_eq!(url(&read.resource), "https://gw.example.com:8443/.well-known/oauth-protected-resource");
    }
}
