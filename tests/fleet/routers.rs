//! The example of docs/FLEET.md: three routers, one Redis.

use serde_json::Value;

use crate::access::admit;
use crate::redis::Redis;
use crate::support::{Files, Forwarder, merge, settings, wait_for};
use crate::{candidates, heard, read};

/// What the document shows in a block of this kind.
fn shown(kind: &str) -> String {
    let text = read("docs/FLEET.md");
    let (_, rest) = text.split_once(&format!("```{kind}\n")).expect("it is shown");
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn three_routers_share_as_the_document_shows() {
    let settings_of_redis = shown("text redis.conf");
    let words: Vec<String> = settings_of_redis
        .lines()
        .flat_map(|line| {
            let (name, value) = line.split_once(' ').unwrap();
            [format!("--{name}"), value.trim_matches('"').to_owned()]
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(redis) = Redis::start(&words) else {
        return;
    };
    let mut talk = redis.talk();
    admit(&mut talk);
    let example = shown("yaml router.yaml");
    assert!(example.contains("redis.example.org:6379") && example.contains("node: kitchen"));
    let list = candidates(6);
    let names = ["kitchen", "attic", "garage"];
    let routers = names.map(|name| {
        let text = example
            .replace("redis.example.org:6379", &redis.addr.to_string())
            .replace("node: kitchen", &format!("node: {name}"));
        let mut config = settings(&serde_yaml::from_str::<Value>(&text).unwrap());
        // The reader of a test waits less than a router.
        merge(
            &mut config,
            &serde_json::json!({ "cluster": { "interval": "500ms" } }),
        );
        let files = Files::new(&config, &list);
        let mut command = files.command();
        command.env("REDIS_PASSWORD", "secret");
        Forwarder::spawn(files, command).listening()
    });
    for one in &routers {
        wait_for("two others, who say what they see", || {
            let nodes = one.metric("cluster_nodes");
            (nodes - 2.0).abs() < 0.1 && heard(one) > 1.5
        });
        assert!(one.metric("cluster_failures_total") < 0.5, "{}", one.log());
    }
    let keys = talk.texts(&["KEYS", "tcp-forwarder:edges:node:*"]);
    let said: Vec<String> = keys
        .iter()
        .map(|key| {
            let value = talk.ask(&["GET", key]);
            let hello = tcp_forwarder::fleet::message::read_hello(value.bytes().unwrap()).unwrap();
            assert_eq!(hello.vantage, "home");
            hello.name
        })
        .collect();
    assert!(
        names.iter().all(|name| said.contains(&(*name).to_owned())),
        "{said:?}"
    );
    let [kitchen, attic, garage] = routers;
    assert_eq!(garage.stop().status, Some(0));
    for one in [&kitchen, &attic] {
        wait_for("one other", || (one.metric("cluster_nodes") - 1.0).abs() < 0.1);
    }
}
