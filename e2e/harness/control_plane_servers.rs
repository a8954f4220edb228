//! How each program of the control plane is started.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::processes::Spec;
use super::{ports, tools};

const CONTROLLERS: &str = "namespace-controller,serviceaccount-controller,garbage-collector-controller,\
    deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller";

/// Everything at level Metadata and nothing above it: the log says who did what, and no body of a Secret gets into it.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// The store. Nothing in it has to survive a power cut.
pub(crate) fn etcd(folder: &Path, port: u16) -> Result<Spec<'static>> {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", ports::free_port());
    Ok(Spec {
        name: "etcd",
        program: tools::tool("etcd")?,
        arguments: vec![
            format!("--data-dir={}", folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            format!("--quota-backend-bytes={}", 8_u64 << 30),
            "--log-level=warn".to_owned(),
        ],
        environment: Vec::new(),
        unprivileged: false,
        dies_by: "KILL",
    })
}

/// The API server. `tokens` are users with every right; all others get theirs by RBAC.
pub(crate) fn apiserver(folder: &Path, port: u16, etcd_port: u16, tokens: &[(&str, &str)]) -> Result<Spec<'static>> {
    let mut table = String::new();
    for (user, token) in tokens {
        writeln!(table, "{token},{user},{user},system:masters")?;
    }
    fs::write(folder.join("tokens.csv"), table)?;
    fs::write(folder.join("audit-policy.yaml"), AUDIT_POLICY)?;
    let (private, public) = signing_keys()?;
    fs::write(folder.join("service-account.key"), private)?;
    fs::write(folder.join("service-account.pub"), public)?;
    let file = |name: &str| folder.join(name).display().to_string();
    Ok(Spec {
        name: "kube-apiserver",
        program: tools::tool("kube-apiserver")?,
        arguments: vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", folder.display()),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Nothing in this cluster needs the endpoints of the API server.
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--audit-policy-file={}", file("audit-policy.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            // Never rotated: a test that counts has to see all of it.
            "--audit-log-maxsize=0".to_owned(),
        ],
        environment: Vec::new(),
        unprivileged: false,
        dies_by: "KILL",
    })
}

/// The controllers. They need no port and elect no leader, being alone.
pub(crate) fn controller_manager(kubeconfig: &Path) -> Result<Spec<'static>> {
    Ok(Spec {
        name: "kube-controller-manager",
        program: tools::tool("kube-controller-manager")?,
        arguments: vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--controllers={CONTROLLERS}"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            // Tests wait for it; it need not spare this API server.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ],
        environment: Vec::new(),
        unprivileged: false,
        dies_by: "KILL",
    })
}

/// What X.509 puts before the point of a P-256 public key.
const P256_PUBLIC_KEY: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The keys with which the API server signs ServiceAccounts' tokens and checks them, private and public, in PEM.
fn signing_keys() -> Result<(String, String)> {
    let failed = |_| anyhow!("no key for ServiceAccount tokens could be made");
    let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random)
        .map_err(|why| anyhow!("reading a key that was just made: {why}"))?;
    let public = [&P256_PUBLIC_KEY, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
