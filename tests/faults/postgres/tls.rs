//! TLS to the database: with a certificate that is trusted, with one that is not, and with none.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::persist::prepare;
use super::server::Server;
use crate::sidecar::{Launch, Place};
use crate::turn;

/// A certificate that will not do is refused at once: waiting does not mend it.
const SOON: Duration = Duration::from_secs(4);

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output();
    let output = output.expect("openssl runs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an authority; answers with its certificate.
fn authority(folder: &Path, name: &str) -> PathBuf {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"));
    folder.join(format!("{name}.pem"))
}

/// Has the server speak TLS as `localhost`, with a certificate by the authority `trusted`.
fn certify(server: &mut Server) {
    let folder = server.path("");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&folder, &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost").expect("a file");
    let by = "-CA trusted.pem -CAkey trusted.key -CAcreateserial";
    openssl(&folder, &format!("x509 -req -in server.csr {by} -days 2 -extfile names -out server.pem"));
    // Only its owner may be able to read a server's key.
    let owner = std::fs::metadata(server.data()).expect("its files");
    for file in ["server.key", "server.pem"] {
        let there = server.data().join(file);
        std::fs::copy(folder.join(file), &there).expect("a copy");
        std::fs::set_permissions(&there, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a file");
        chown(&there, Some(owner.uid()), Some(owner.gid())).expect("its own file, or root");
    }
    server.option("ssl=on");
    server.option("ssl_cert_file=server.pem");
    server.option("ssl_key_file=server.key");
}

fn url(server: &Server, host: &str, parameters: &str) -> String {
    server.url(&format!("postgres?{parameters}")).replace("127.0.0.1", host)
}

async fn works(server: &Server, url: &str) {
    let place = Place::new();
    let mut sidecar = Launch::new(&place).database(url).start().await;
    prepare(&sidecar).await;
    let mut admin = server.admin().await;
    let plain = "SELECT count(*) FILTER (WHERE NOT ssl), count(*) FROM pg_stat_ssl \
         JOIN pg_stat_activity USING (pid) WHERE application_name = 'pannier'";
    let (plain, all): (i64, i64) = sqlx::query_as(plain).fetch_one(&mut admin).await.expect("an answer");
    assert!(plain == 0 && all > 0, "{url}: {plain} of {all} sessions are not encrypted");
    sidecar.stop().await;
}

async fn refused(url: &str, words: &[&str]) {
    let place = Place::new();
    let began = Instant::now();
    let refusal = Launch::new(&place).database(url).refused().await;
    let last = refusal.stderr.lines().last().unwrap_or_default().to_owned();
    println!("{last}");
    assert!(refusal.code == Some(1) && last.starts_with("error: "), "{url}: {refusal:?}");
    assert!(words.iter().all(|word| last.contains(word)), "{url}: {last}");
    assert!(began.elapsed() < SOON, "{url}: refused only after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_asked_for_and_checked_as_the_url_says() {
    let mut server = Server::made().await;
    let _turn = turn::shared().await;
    let folder = server.path("");
    let trusted = authority(&folder, "trusted").display().to_string();
    let stranger = authority(&folder, "stranger").display().to_string();
    certify(&mut server);
    server.start().await;

    works(&server, &url(&server, "localhost", "sslmode=require")).await;
    works(&server, &url(&server, "localhost", &format!("sslmode=verify-full&sslrootcert={trusted}"))).await;
    // Its name is not looked at.
    works(&server, &url(&server, "127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={trusted}"))).await;

    let by_stranger = url(&server, "localhost", &format!("sslmode=verify-full&sslrootcert={stranger}"));
    refused(&by_stranger, &["certificate", "UnknownIssuer"]).await;
    refused(&url(&server, "localhost", "sslmode=verify-full"), &["certificate", "UnknownIssuer"]).await;
    let another_name = url(&server, "127.0.0.1", &format!("sslmode=verify-full&sslrootcert={trusted}"));
    refused(&another_name, &["certificate", "not valid for name"]).await;
    let no_file = url(&server, "localhost", "sslmode=verify-full&sslrootcert=/no/such/file.pem");
    refused(&no_file, &["sslrootcert"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_not_spoken_to_where_tls_is_required() {
    let server = Server::started().await;
    let _turn = turn::shared().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(&url(&server, "localhost", &format!("sslmode={mode}")), &["does not support TLS"]).await;
    }
}
