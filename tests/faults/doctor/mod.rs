//! `pannier doctor` by the real binary: what it says, its exit code, and that it changes nothing.

mod file;
mod server;
mod shared;

use std::process::Command;

use crate::sidecar::pannier;

/// What `pannier doctor` said, for people and for programs.
struct Verdict {
    code: Option<i32>,
    text: String,
    json: serde_json::Value,
}

/// Runs it twice, without and with `--json`; that both agree.
fn doctor(prepare: impl Fn(&mut Command)) -> Verdict {
    let run = |further: &[&str]| {
        let mut command = pannier("doctor");
        prepare(&mut command);
        let output = command.args(further).output().expect("the binary runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert!(stderr.is_empty(), "all is said on stdout: {stderr}");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let (code, text) = run(&[]);
    let (code_of_json, json) = run(&["--json"]);
    assert_eq!(code, code_of_json, "{text}\n{json}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let verdict = Verdict { code, text, json };
    let findings = verdict.json["findings"].as_array().expect("findings");
    assert_eq!(verdict.text.lines().filter(|line| !line.starts_with(' ')).count(), findings.len() + 2);
    verdict
}

impl Verdict {
    /// The only finding of a check.
    #[track_caller]
    fn finding(&self, check: &str) -> &serde_json::Value {
        let findings = self.json["findings"].as_array().expect("findings");
        let mut of_check = findings.iter().filter(|finding| finding["check"] == check);
        let finding = of_check.next().unwrap_or_else(|| panic!("nothing about {check}:\n{}", self.text));
        assert!(of_check.next().is_none(), "{check} twice:\n{}", self.text);
        finding
    }

    /// That a check has this grade, and its finding these words.
    #[track_caller]
    fn says(&self, check: &str, grade: &str, words: &[&str]) {
        let finding = self.finding(check);
        assert_eq!(finding["grade"], grade, "{check}:\n{}", self.text);
        let told = format!("{} {}", finding["found"], finding["advice"]);
        for word in words {
            assert!(told.contains(word), "{check} does not say {word:?}:\n{}", self.text);
        }
    }

    /// A number of a check.
    #[track_caller]
    fn measure(&self, check: &str, name: &str) -> i64 {
        self.finding(check)["measures"][name].as_i64().unwrap_or_else(|| panic!("no {name}:\n{}", self.text))
    }

    /// The checks that are not as they should be, as `grade check`.
    fn not_ok(&self) -> Vec<String> {
        let findings = self.json["findings"].as_array().expect("findings").iter();
        let bad = findings.filter(|finding| finding["grade"] != "ok");
        bad.map(|finding| {
            let word = |name: &str| finding[name].as_str().expect("a word").to_owned();
            format!("{} {}", word("grade"), word("check"))
        })
        .collect()
    }

    /// That nothing is wrong, but for these.
    #[track_caller]
    fn only(&self, not_ok: &[&str]) {
        assert_eq!(self.not_ok(), not_ok, "{}", self.text);
        let is_problem = not_ok.iter().any(|bad| bad.starts_with("problem"));
        assert_eq!(self.code, Some(i32::from(is_problem)), "{}", self.text);
    }
}

#[test]
fn all_that_is_wrong_with_the_settings_is_told_with_exit_78() {
    let verdict = doctor(|command| {
        command.args(["--set", "storage.readers=0", "--set", "server.pagesize=1", "--set"]);
        command.arg("storage.url=mysql://me:geheim@db/x");
    });
    assert_eq!(verdict.code, Some(78), "{}", verdict.text);
    for word in ["storage.readers", "server.page_size", "postgres://"] {
        assert!(verdict.text.contains(word), "{word:?} is not in:\n{}", verdict.text);
    }
    assert!(!verdict.text.contains("geheim") && !verdict.json.to_string().contains("geheim"));
    assert_eq!((&verdict.json["grade"], &verdict.json["problems"]), (&"problem".into(), &3.into()));
}
