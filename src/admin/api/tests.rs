//! Every path answers as the `OpenAPI` document says, and the document names every path.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::resource::Resource;
use super::*;
use crate::access_log::Via;
use crate::base::clock;
use crate::config::{DnsProvider, Family, Provider, ProviderKind};
use crate::reactor::{Listed, Row, Stage};
use crate::scorer::sample::{Outcome as Sampled, Source};
use crate::selector::Selector;
use crate::service::provided::Standing;
use crate::service::stage::{addr, hub, list_saying, publish, sample, service, service_of, spec};
use crate::service::{AdminState, Hub, ProbeRequest, Service};

/// A hub with one service that has been evaluated, and a configuration.
fn evaluated() -> (Arc<Hub>, Arc<Service>) {
    let hub = hub();
    let asked = Provider::Dns(DnsProvider {
        name: "a.example".to_owned(),
        port: 443,
        family: Family::Any,
    });
    let one = service(
        &hub,
        "default",
        1..=9,
        spec(|spec| spec.remotes.providers.push(asked.into())),
    );
    publish(&hub, &[&one]);
    for port in 1..=5 {
        let answer = Sampled::Success(Duration::from_millis(port.into()));
        let sample = sample(&one, port, (Source::Probe, answer), hub.started_at);
        one.live.board.write().expect("not poisoned").record(&sample);
    }
    Selector::new(Arc::clone(&hub)).step(hub.started_at);
    hub.config
        .publish(Arc::new(Some(crate::config::Config::default())));
    (hub, one)
}

fn ask(hub: &Hub, wish: Wish, target: &str) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let resource = Resource::of(path).unwrap_or_else(|| panic!("{path} is no path"));
    match answer(hub, &resource, wish, (query, None), clock::now()) {
        Outcome::Page(page) => {
            let body = serde_json::from_slice(&page.body()).expect("JSON");
            (page.status(), body)
        }
        // Reactors are asked by others, who make the page.
        Outcome::Connections(limit) => {
            let page = connections_page(&[listed(hub)], 1, limit);
            let body = serde_json::from_slice(&page.body()).expect("JSON");
            (page.status(), body)
        }
        Outcome::Follow(seen) => panic!("{target} is followed from {seen} on"),
    }
}

/// A connection in each stage, the later the younger.
fn listed(hub: &Hub) -> Listed {
    let service = Arc::clone(&hub.directory.load().services[0]);
    let row = |(place, stage): (usize, Stage)| Row {
        service: Arc::clone(&service),
        client: addr(7),
        listener: (place > 0).then(|| addr(8)),
        backend: (place > 1).then(|| addr(1)),
        via: (place > 2).then_some(if place > 3 { Via::Warm } else { Via::Dialled }),
        stage,
        age: Duration::from_secs(60 - place as u64),
        idle: Duration::from_millis(1),
        bytes_to_backend: 1,
        bytes_to_client: u64::MAX,
    };
    let rows: Vec<Row> = Stage::ALL.into_iter().enumerate().map(row).rev().collect();
    let clients = rows.len() + 3;
    Listed { rows, clients }
}

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("JSON")
}

/// What is wrong with a value, by as much of JSON Schema as the document uses.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').expect("a reference within");
        let schema = document.pointer(pointer).unwrap_or_else(|| panic!("no {name}"));
        return faults(document, schema, value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices
            .iter()
            .filter(|one| faults(document, one, value, at).is_empty());
        return if fitting.count() == 1 {
            Vec::new()
        } else {
            vec![format!("{at}: fits not one of {schema}")]
        };
    }
    let mut wrong = Vec::new();
    let kinds = &schema["type"];
    let several = kinds.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut kinds = kinds.as_str().into_iter().chain(several);
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the kind {other} is unknown here"),
    };
    if !kinds.any(is) {
        wrong.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    for (index, one) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(faults(document, &schema["items"], one, &format!("{at}[{index}]")));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(name).is_none() {
            wrong.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, one) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => wrong.push(format!("{at}: is not in the document")),
            (Value::Null, Value::Null | Value::Bool(true)) => {}
            (Value::Null, others) => wrong.extend(faults(document, others, one, &at)),
            (schema, _) => wrong.extend(faults(document, schema, one, &at)),
        }
    }
    wrong
}

/// Holds an answer to what the document says of it.
fn fits(document: &Value, (path, method): (&str, &str), (status, body): &(u16, Value)) {
    let responses = &document["paths"][path][method]["responses"];
    let schema = &responses[status.to_string()]["content"]["application/json"]["schema"];
    assert!(
        !schema.is_null(),
        "{method} {path}: {status} is not in the document; {body}"
    );
    let wrong = faults(document, schema, body, "");
    assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}");
}

#[test]
fn every_path_of_the_document_answers_as_it_says() {
    let (hub, one) = evaluated();
    hub.events
        .tell(Some(&one.name), crate::service::events::What::Uplink);
    let document = document();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        // Those two are answered by the site, and held to the document by the program's own test.
        if path == "/api/v1/status" || path == "/api/v1/reload" {
            continue;
        }
        for (method, operation) in methods.as_object().expect("methods") {
            let wish = if method == "post" {
                Wish::Change
            } else {
                Wish::Look
            };
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let given = parameters.filter(|one| one["in"] == "query" && one["required"] == true);
            let query: Vec<String> = given
                .map(|one| {
                    format!(
                        "{}={}",
                        one["name"].as_str().expect("text"),
                        one["example"].as_str().expect("text")
                    )
                })
                .collect();
            let target = format!("{}?{}", path.replace("{name}", "default"), query.join("&"));
            let answered = ask(&hub, wish, &target);
            assert!(answered.0 < 300, "{target}: {answered:?}");
            fits(&document, (path, method), &answered);
            let unknown = ask(&hub, wish, &format!("{target}&x=1"));
            assert_eq!(unknown.0, 400, "{target}");
            fits(&document, (path, method), &unknown);
            if path.contains("{name}") {
                let nobody = ask(&hub, wish, &target.replace("default", "nobody"));
                assert_eq!(nobody.0, 404, "{target}");
                fits(&document, (path, method), &nobody);
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 16);
}

#[test]
fn the_document_names_every_path_with_its_methods() {
    let document = document();
    let name = || "default".to_owned();
    let states = AdminState::ALL.map(|state| {
        (
            Resource::State(name(), state),
            format!("services/{{name}}/{}", state.label()),
        )
    });
    let all = [
        (Resource::Document, "openapi.json".to_owned()),
        (Resource::Services, "services".to_owned()),
        (Resource::Service(name()), "services/{name}".to_owned()),
        (
            Resource::Candidates(name()),
            "services/{name}/candidates".to_owned(),
        ),
        (Resource::Explain(name()), "services/{name}/explain".to_owned()),
        (Resource::Space(name()), "services/{name}/space".to_owned()),
        (Resource::Probe(name()), "services/{name}/probe".to_owned()),
        (Resource::Config, "config".to_owned()),
        (Resource::Connections, "connections".to_owned()),
        (Resource::Events, "events".to_owned()),
        (Resource::Fleet, "fleet".to_owned()),
        (Resource::Level, "loglevel".to_owned()),
    ];
    for (resource, path) in all.into_iter().chain(states) {
        let path = format!("/api/v1/{path}");
        assert_eq!(
            Resource::of(&path.replace("{name}", "default")),
            Some(resource.clone())
        );
        let methods = document["paths"][&path]
            .as_object()
            .unwrap_or_else(|| panic!("{path} is missing"));
        let named: BTreeSet<String> = methods.keys().map(|method| method.to_uppercase()).collect();
        let answered = resource.allow().split(", ").filter(|method| *method != "HEAD");
        assert_eq!(named, answered.map(str::to_owned).collect(), "{path}");
    }
    for path in [
        "/api/v1/",
        "/api/v1/services/",
        "/api/v1/services/a/b",
        "/api/v1/services/a/ready/b",
        "/api/v1/x",
    ] {
        assert_eq!(
            Resource::of(path).filter(|one| *one != Resource::Service(String::new())),
            None,
            "{path}"
        );
    }
}

#[test]
fn who_is_taken_out_is_told_of_and_the_last_one_stays() {
    let (hub, one) = evaluated();
    let drain = |port: u16| format!("/api/v1/services/default/drain?backend={}", addr(port));
    let (status, body) = ask(&hub, Wish::Change, &drain(1));
    assert_eq!(
        (status, &body["state"], &body["was"]),
        (200, &"drain".into(), &"ready".into())
    );
    assert!(!one.live.admin.load().is_ready(&addr(1)));
    assert_eq!(ask(&hub, Wish::Change, &drain(1)).1["was"], "drain");
    assert_eq!(hub.events.told(), 2, "the first set, and one drain");
    for port in 2..=8 {
        assert_eq!(ask(&hub, Wish::Change, &drain(port)).0, 200);
    }
    let (status, body) = ask(&hub, Wish::Change, &drain(9));
    assert_eq!(status, 409, "{body}");
    assert_eq!(ask(&hub, Wish::Change, &drain(10)).0, 404, "no candidate");
    let ready = drain(1).replace("drain", "ready");
    assert_eq!(ask(&hub, Wish::Change, &ready).0, 200);
    assert_eq!(ask(&hub, Wish::Change, &drain(9)).0, 200);
    let (_, details) = ask(&hub, Wish::Look, "/api/v1/services/default");
    assert_eq!(details["withdrawn_candidates"].as_array().map(Vec::len), Some(8));
}

#[test]
fn probes_are_asked_for_where_they_can_be_made() {
    let (hub, one) = evaluated();
    let path = "/api/v1/services/default/probe";
    let (status, _) = ask(&hub, Wish::Change, &format!("{path}?backend={}", addr(2)));
    assert_eq!(status, 202);
    assert_eq!(ask(&hub, Wish::Change, path).0, 202);
    assert_eq!(
        one.live.probe_requests.take(),
        [ProbeRequest::One(addr(2)), ProbeRequest::All]
    );
    let out =
        |states: &crate::service::AdminStates| states.with(addr(2), AdminState::Maintenance).map(Arc::new);
    assert!(one.live.admin.replace(out));
    assert_eq!(
        ask(&hub, Wish::Change, &format!("{path}?backend={}", addr(2))).0,
        409
    );
    let last_at = hub.started_at;
    one.live
        .slumber
        .publish(Arc::new(crate::service::Slumber::Asleep { last_at }));
    assert_eq!(ask(&hub, Wish::Change, path).0, 409);
}

#[test]
fn of_many_connections_the_oldest_of_those_that_were_told_are_shown() {
    let (hub, _) = evaluated();
    let (_, body) = ask(&hub, Wish::Look, "/api/v1/connections?limit=2");
    let stages: Vec<&Value> = body["connections"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["stage"])
        .collect();
    assert_eq!(stages, ["opening", "queued"]);
    assert_eq!((&body["total"], &body["is_complete"]), (&9.into(), &true.into()));
    for limit in ["0", "1001"] {
        let asked = format!("/api/v1/connections?limit={limit}");
        assert_eq!(ask(&hub, Wish::Look, &asked).0, 400);
    }
    let page = connections_page(&[], 1, 5);
    let body: Value = serde_json::from_slice(&page.body()).expect("JSON");
    assert_eq!(body["is_complete"], false, "a reactor has not answered");
}

#[test]
fn services_come_in_pages_and_by_parts_of_their_names() {
    let hub = hub();
    let some: Vec<_> = ["a1", "a2", "a3", "b1"]
        .map(|name| service(&hub, name, 1..=2, spec(|_| ())))
        .into();
    publish(&hub, &some.iter().collect::<Vec<_>>());
    let names = |query: &str| {
        let (status, body) = ask(&hub, Wish::Look, &format!("/api/v1/services?{query}"));
        assert_eq!((status, &body["total"]), (200, &4.into()), "{body}");
        let rows = body["services"].as_array().expect("rows").iter();
        let names: Vec<String> = rows
            .map(|row| row["name"].as_str().expect("text").to_owned())
            .collect();
        (names.join(" "), body["matching"].as_u64().expect("a number"))
    };
    assert_eq!(names(""), ("a1 a2 a3 b1".to_owned(), 4));
    assert_eq!(names("contains=a&offset=1&limit=1"), ("a2".to_owned(), 3));
    assert_eq!(names("offset=4"), (String::new(), 4));
    for query in ["contains=A", "offset=-1", "offset=1000001", "limit=0"] {
        assert_eq!(
            ask(&hub, Wish::Look, &format!("/api/v1/services?{query}")).0,
            400,
            "{query}"
        );
    }
}

#[test]
fn the_space_is_what_the_search_published_or_follows_from_the_scores() {
    let (hub, one) = evaluated();
    let path = "/api/v1/services/default/space";
    let (_, body) = ask(&hub, Wish::Look, path);
    assert_eq!(
        (&body["listed"], &body["is_searched"]),
        (&9.into(), &false.into())
    );
    let prefixes = body["prefixes"].as_array().expect("rows");
    let sum = |key: &str| {
        prefixes
            .iter()
            .map(|row| row[key].as_u64().expect("a number"))
            .sum::<u64>()
    };
    assert_eq!((sum("candidates"), sum("known")), (9, 5), "{body}");
    let list = one.live.candidates.load();
    let space = crate::search::Space::of(&list, [], 1, hub.started_at);
    one.live.space.publish(Arc::new(Some(space)));
    let (_, body) = ask(&hub, Wish::Look, path);
    assert_eq!(
        (&body["is_searched"], &body["prefixes"][0]["candidates"]),
        (&true.into(), &9.into())
    );
    assert_eq!(body["prefixes"][0]["answering"], Value::Null, "nobody was asked");
}

#[test]
fn the_fleet_is_told_of_with_ages_and_who_probes_whom() {
    let (hub, one) = evaluated();
    let ask = || {
        let answered = ask(&hub, Wish::Look, "/api/v1/fleet");
        fits(&document(), ("/api/v1/fleet", "get"), &answered);
        answered.1
    };
    let body = ask();
    assert_eq!((&body["is_shared"], &body["me"]), (&false.into(), &Value::Null));
    let node = |id, vantage: &str| crate::service::fleet::Node {
        id,
        name: format!("n{id}"),
        vantage: vantage.to_owned(),
        services: vec![one.key],
        is_down: id == 2,
    };
    hub.fleet.view.publish(Arc::new(crate::service::fleet::FleetView {
        me: 1,
        name: "n1".to_owned(),
        vantage: "home".to_owned(),
        is_connected: true,
        others: vec![node(2, "home"), node(3, "away"), node(4, "home")],
    }));
    let at = clock::now();
    hub.fleet
        .standing
        .publish(Arc::new(crate::service::fleet::Standing {
            cluster: "edges".to_owned(),
            heard_at: Some(at),
            failed: Some(("it takes too long".to_owned(), at)),
            spoke: vec![(2, at)],
            claims: 4,
        }));
    let body = ask();
    assert_eq!(body["cluster"], "edges");
    assert_eq!(body["me"]["id"], "0000000000000001");
    assert_eq!(body["last_failure"]["message"], "it takes too long");
    assert_eq!(body["claimed_clients"], 4);
    let nodes = &body["nodes"];
    assert_eq!(
        (&nodes[0]["link"], &nodes[0]["is_near"]),
        (&"down".into(), &true.into())
    );
    assert!(nodes[0]["spoke_seconds_ago"].is_number() && nodes[1]["spoke_seconds_ago"].is_null());
    assert_eq!(
        (&nodes[1]["node"], &nodes[1]["is_near"]),
        (&"n3".into(), &false.into())
    );
    let service = &body["services"][0];
    assert_eq!(
        (&service["name"], &service["nodes"]),
        (&"default".into(), &2.into())
    );
    let members = service["members"].as_array().expect("rows");
    assert_eq!(members.len(), one.live.active.load().backends.len());
    // Whose own link is down has no part of the probes.
    let known = ["0000000000000001", "0000000000000004"];
    let is_known = |row: &Value| known.contains(&row["id"].as_str().expect("text"));
    assert!(members.iter().all(is_known), "{members:?}");
}

#[test]
fn providers_are_told_of_with_what_they_name_and_how_they_fare() {
    let (hub, one) = evaluated();
    one.live.named.publish(Arc::new(vec![9, 2]));
    let now = clock::now();
    let answered_at = now.checked_sub(Duration::from_secs(60)).expect("a time");
    let standing = Standing {
        kind: ProviderKind::Dns,
        candidates: 2,
        answered_at: Some(answered_at),
        next_at: Some(now + Duration::from_secs(600)),
        error: Some("nobody answers".to_owned()),
        errors: 3,
    };
    hub.provided
        .standings
        .publish(Arc::new([((one.name.clone(), 1), standing)].into()));
    let (status, body) = ask(&hub, Wish::Look, "/api/v1/services/default");
    assert_eq!(status, 200);
    fits(
        &document(),
        ("/api/v1/services/{name}", "get"),
        &(status, body.clone()),
    );
    let [file, asked] = [0, 1].map(|place| &body["providers"][place]);
    assert_eq!(
        (&file["provider"], &file["candidates"], &file["next_seconds"]),
        (&"0:file".into(), &9.into(), &Value::Null)
    );
    assert_eq!(
        [
            &asked["provider"],
            &asked["type"],
            &asked["source"],
            &asked["error"]
        ],
        ["1:dns", "dns", "a.example:443", "nobody answers"]
    );
    assert_eq!((&asked["candidates"], &asked["errors"]), (&2.into(), &3.into()));
    let seconds = |key: &str| asked[key].as_f64().expect("a number");
    assert!(
        (60.0..120.0).contains(&seconds("answered_seconds_ago")),
        "{asked}"
    );
    assert!((500.0..=600.0).contains(&seconds("next_seconds")), "{asked}");
    // A service that has left has no providers, and one whose providers were not asked yet has no times.
    hub.provided.standings.publish(Arc::default());
    let (_, body) = ask(&hub, Wish::Look, "/api/v1/services/default");
    assert_eq!(body["providers"][1]["answered_seconds_ago"], Value::Null);
}

#[test]
fn names_stand_beside_addresses() {
    let hub = hub();
    let list = list_saying(&[(1, "name=hk1"), (2, "name=\"香港 2\""), (3, ""), (4, "name=out")]);
    let one = service_of(&hub, "default", list, spec(|_| ()));
    publish(&hub, &[&one]);
    one.live
        .is_swept
        .store(true, std::sync::atomic::Ordering::Relaxed);
    for port in 1..=4 {
        let answer = Sampled::Success(Duration::from_millis(port.into()));
        let sample = sample(&one, port, (Source::Probe, answer), hub.started_at);
        one.live.board.write().expect("not poisoned").record(&sample);
    }
    Selector::new(Arc::clone(&hub)).step(hub.started_at);
    let drain = format!("/api/v1/services/default/drain?backend={}", addr(4));
    assert_eq!(ask(&hub, Wish::Change, &drain).1["name"], "out");
    let names = |rows: &Value| -> Vec<(String, Value)> {
        let row = |row: &Value| {
            (
                row["addr"].as_str().expect("text").to_owned(),
                row["name"].clone(),
            )
        };
        let mut names: Vec<_> = rows.as_array().expect("rows").iter().map(row).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names
    };
    let expected = |ports: &[u16]| -> Vec<(String, Value)> {
        let names = [Value::from("hk1"), "香港 2".into(), Value::Null, "out".into()];
        let named = |port: &u16| (addr(*port).to_string(), names[usize::from(*port) - 1].clone());
        ports.iter().map(named).collect()
    };
    let look = |path: &str| ask(&hub, Wish::Look, &format!("/api/v1/{path}")).1;
    let details = look("services/default");
    assert_eq!(names(&details["members"]), expected(&[1, 2, 3]));
    assert_eq!(names(&details["withdrawn_candidates"]), expected(&[4]));
    assert_eq!(
        names(&look("services/default/candidates")["candidates"]),
        expected(&[1, 2, 3, 4])
    );
    assert_eq!(
        names(&look("services/default/explain")["members"]),
        expected(&[1, 2, 3])
    );
    let connections = look("connections");
    assert_eq!(
        connections["connections"][2]["backend_name"], "hk1",
        "{connections}"
    );
    let events = look("events");
    let [switch, drained] = [0, 1].map(|place| &events["events"][place]);
    assert_eq!(
        switch["details"]["names"][addr(2).to_string()],
        "香港 2",
        "{events}"
    );
    let text = switch["text"].as_str().expect("text");
    assert!(text.contains(&format!("{} (香港 2)", addr(2))), "{text}");
    assert_eq!(drained["details"]["name"], "out");
    assert_eq!(drained["text"], format!("{} (out) is drain by hand", addr(4)));
}

#[test]
fn candidates_come_in_the_order_that_is_asked_for() {
    let (hub, _) = evaluated();
    let ports = |query: &str| {
        let (status, body) = ask(
            &hub,
            Wish::Look,
            &format!("/api/v1/services/default/candidates?{query}"),
        );
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["listed"], 9);
        let rows = body["candidates"].as_array().expect("rows").iter();
        let port = |row: &Value| {
            let addr: SocketAddr = row["addr"].as_str().expect("text").parse().expect("an address");
            addr.port()
        };
        rows.map(port).collect::<Vec<_>>()
    };
    assert_eq!(ports(""), [1, 2, 3, 4, 5]);
    assert_eq!(ports("sort=latency&limit=2"), [1, 2]);
    assert_eq!(ports("sort=addr&prefix=127.0.0.1"), [1, 2, 3, 4, 5]);
    assert!(ports("prefix=192.0.2.0/24").is_empty());
}
