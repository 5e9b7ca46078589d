//! What an operator sees of open flows, and does to them, by command and over HTTP.

use lifecycle::Transport;
use prove::{Answering, Ended};
use serde_json::{Value, json};

use crate::directory::Directory;
use crate::operator::{ask, get};
use crate::process::{Ended as Done, PATIENCE, Server, ledger_events, run, sipway};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn start(directory: &Directory) -> Server {
    let text = "[ledger]\ndirectory = \"ledger\"\n[log]\nformat = \"json\"\n\
         [admin]\nbind = \"127.0.0.1:0\"\ntoken_env = \"SIPWAY_ADMIN_TOKEN\"\n\
         [[listener]]\nname = \"ws\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n";
    let file = directory.write("sipway.toml", text);
    let mut command = sipway(["run", "--config"]);
    command.arg(file).env("SIPWAY_ADMIN_TOKEN", TOKEN);
    Server::run(command).await
}

async fn flows(server: &Server, arguments: &[&str]) -> Done {
    let mut command = sipway(["flows"]);
    command.args(arguments).args(["--admin", &format!("http://{}", server.address("admin"))]);
    command.env("SIPWAY_ADMIN_TOKEN", TOKEN);
    run(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_are_listed_shown_pinged_and_closed() {
    let directory = Directory::new("flows");
    let mut server = start(&directory).await;
    let none = flows(&server, &["list"]).await;
    assert_eq!((none.code, none.out.as_str()), (Some(0), "no connection is open\n"));
    let mut ada = server.connect(Transport::Ws, "ada").await;
    let mut bob = server.connect(Transport::Tcp, "bob").await;
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    assert_eq!(bob.register(600).await.unwrap().status, 200);

    let both = flows(&server, &["list"]).await;
    let lines: Vec<_> = both.out.lines().collect();
    assert_eq!(lines.len(), 3, "{both:?}");
    assert!(lines[0].starts_with("FLOW") && both.out.contains("ada@localhost"), "{both:?}");
    for (filter, value) in
        [("--aor", "ada@localhost"), ("--listener", "ws"), ("--remote", &ada.local().to_string())]
    {
        let one = flows(&server, &["list", "--json", filter, value]).await;
        let shown: Vec<Value> = one.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(shown.len(), 1, "{filter}: {one:?}");
        assert_eq!(shown[0]["bindings"][0]["aor"], "ada@localhost");
    }
    let nobody = flows(&server, &["list", "--user-agent", "no such agent"]).await;
    assert_eq!(nobody.out, "no connection is open that fits\n");

    let listed = flows(&server, &["list", "--json", "--aor", "sip:ada@localhost"]).await;
    let flow = serde_json::from_str::<Value>(&listed.out).unwrap()["flow"].as_str().unwrap().to_owned();
    let shown = flows(&server, &["show", &flow]).await;
    assert!(shown.out.contains("ada@localhost at sip:"), "{shown:?}");

    let pinging = tokio::spawn(async move {
        let ended = ada.serve().await;
        (ada, ended)
    });
    let pinged = flows(&server, &["ping", &flow]).await;
    assert!(pinged.out.contains(&format!("{flow} answered after")), "{pinged:?}");
    // Whatever shard its number names, or none: an inbox that is full is another thing.
    for number in [1, 63, 64, 4095, 999_999, u64::MAX] {
        for order in ["ping", "show", "close"] {
            let unknown = flows(&server, &[order, &format!("sipway.1.f{number}")]).await;
            assert_eq!(unknown.code, Some(1), "{order} {number}");
            assert!(unknown.err.contains("there is no open flow"), "{order} {number}: {unknown:?}");
        }
    }
    let admin = server.address("admin");
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let metrics = ask(admin, "GET /metrics", &bearer, "").await.body;
    assert!(metrics.contains("\nsipway_inbox_full_total 0\n"), "{metrics}");
    let node = ask(admin, "GET /api/node", &bearer, "").await.json();
    assert_eq!(node["ledger"], "good");

    let closed = flows(&server, &["close", &flow, "--reason", "moved to another desk"]).await;
    assert_eq!(closed.code, Some(0), "{closed:?}");
    let (_, ended) = tokio::time::timeout(PATIENCE, pinging).await.expect("is told").unwrap();
    let Ended::Closed { code, reason } = ended else { panic!("{ended:?}") };
    assert_eq!((code, reason.as_str()), (Some(1000), "moved to another desk"));

    bob.set_answering(Answering::KeepsSilent);
    let listed = flows(&server, &["list", "--json"]).await;
    let flow = serde_json::from_str::<Value>(&listed.out).unwrap()["flow"].as_str().unwrap().to_owned();
    let late = flows(&server, &["ping", &flow, "--timeout", "50ms"]).await;
    assert!(late.err.contains("did not answer within 50ms"), "{late:?}");
    assert!(server.terminate().await.success());
    let events = ledger_events(&directory.at("ledger")).await;
    let causes: Vec<_> = events.iter().filter_map(|event| event["data"]["cause"].as_str()).collect();
    assert!(causes.contains(&"admin") && causes.contains(&"shutdown"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_api_asks_for_its_token_and_answers_in_json() {
    let directory = Directory::new("token");
    let mut server = start(&directory).await;
    let admin = server.address("admin");
    let mine = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(get(admin, "/healthz").await.status, 200, "load balancers have no token");
    for headers in [
        "",
        "Authorization: Bearer wrong\r\n",
        &mine.replace("Bearer", "Basic"),
        &mine.replace("ef\r", "e\r"),
    ] {
        for path in ["/api/node", "/api/flows", "/metrics", "/nothing"] {
            assert_eq!(
                ask(admin, &format!("GET {path}"), headers, "").await.status,
                401,
                "{path} {headers:?}"
            );
        }
        assert_eq!(ask(admin, "POST /rpc", headers, "{}").await.status, 401);
    }
    let node = ask(admin, "GET /api/node", &mine, "").await.json();
    assert_eq!((&node["node"], &node["state"]), (&json!("sipway"), &json!("serving")));

    for (request, status, word) in [
        ("GET /nothing", 404, "GET /api/node, GET /api/flows, GET|DELETE /api/flows/{flow},"),
        ("PUT /api/drain", 405, "PUT"),
        ("GET /api/flows?limit=0", 400, "limit"),
        ("GET /api/flows?colour=blue", 400, "colour"),
        ("GET /api/flows?remote=here", 400, "IP address"),
        ("GET /api/flows/nonsense", 400, "flow id"),
        ("GET /api/flows/other.1.f1", 404, "belongs to node other"),
        ("POST /api/drain?over=soon", 400, "such as 90s"),
        ("POST /api/flows/sipway.1.f1/ping?timeout=1d", 400, "60s"),
    ] {
        let answer = ask(admin, request, &mine, "").await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && error.contains(word), "{request}: {answer:?}");
    }
    // A page of another site in the operator's browser.
    let strange = format!("{mine}Origin: https://evil.example\r\n");
    assert_eq!(ask(admin, "POST /api/drain", &strange, "").await.status, 403);
    assert_eq!(ask(admin, "GET /api/drain", &mine, "").await.json()["state"], "serving");

    let call = async |body: Value| ask(admin, "POST /rpc", &mine, &body.to_string()).await;
    let method =
        |name: &str, params: Value| json!({ "jsonrpc": "2.0", "method": name, "params": params, "id": 7 });
    let mut ada = server.connect(Transport::Ws, "ada").await;
    assert_eq!(ada.register(600).await.unwrap().status, 200);
    let dump = call(method("ws.dump", json!([]))).await.json();
    assert_eq!(dump["id"], 7);
    let flow = dump["result"]["flows"][0]["flow"].as_str().unwrap().to_owned();
    let found = call(method("ul.lookup", json!(["location", "ada@localhost"]))).await.json();
    assert_eq!(found["result"]["bindings"][0]["flow"], *flow);
    for uri in ["sip:ada@localhost", "sips:%61da@LOCALHOST:5060", "sip:ada:secret@localhost;transport=ws"] {
        let found = call(method("ul.lookup", json!([uri]))).await.json();
        assert_eq!(found["result"]["bindings"][0]["flow"], *flow, "{uri} is written as people write it");
        let query = uri.replace('%', "%25").replace(';', "%3B");
        let found = ask(admin, &format!("GET /api/flows?aor={query}"), &mine, "").await.json();
        assert_eq!(found["flows"][0]["flow"], *flow, "{uri}");
    }
    assert_eq!(call(method("ul.lookup", json!(["eve@localhost"]))).await.json()["error"]["code"], 404);
    assert_eq!(
        call(method("ul.dump", json!(null))).await.json()["result"]["bindings"].as_array().unwrap().len(),
        1
    );
    assert!(call(method("core.uptime", json!(null))).await.json()["result"]["uptime"].is_u64());
    assert_eq!(call(method("ws.disable", json!(null))).await.json()["result"]["state"], "disabled");
    assert_eq!(get(admin, "/healthz").await.status, 503);
    let refused = prove::Client::connect(&server.target(Transport::Ws), &prove::Setup::new("late")).await;
    assert!(matches!(refused, Err(prove::ConnectError::Refused(503))), "{refused:?}");
    assert_eq!(ada.register(600).await.unwrap().status, 200, "who is there stays");
    assert_eq!(call(method("ws.enable", json!(null))).await.json()["result"]["state"], "serving");
    assert_eq!(call(method("ws.close", json!([flow, "by rpc"]))).await.json()["result"], "closing");
    assert!(matches!(ada.serve_for(PATIENCE).await, Some(Ended::Closed { code: Some(1000), .. })));
    for (body, code) in [
        (json!({ "jsonrpc": "2.0", "method": "no.such", "id": 1 }), -32601),
        (json!({ "method": "ws.dump", "id": 1 }), -32600),
        (method("ws.ping", json!([])), -32602),
        (json!([]), -32600),
    ] {
        assert_eq!(call(body.clone()).await.json()["error"]["code"], code, "{body}");
    }
    assert_eq!(ask(admin, "POST /rpc", &mine, "{").await.json()["error"]["code"], -32700);
    assert_eq!(call(json!({ "method": "ws.dump", "id": "a" })).await.json()["id"], "a");
    // One that wants no answer, and one that does.
    let both = json!([{ "jsonrpc": "2.0", "method": "core.uptime" }, method("core.version", json!(null))]);
    assert_eq!(call(both).await.json().as_array().unwrap().len(), 1);
    assert_eq!(call(json!({ "jsonrpc": "2.0", "method": "core.uptime" })).await.status, 204);
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn commands_say_why_they_cannot_ask() {
    let directory = Directory::new("cannot-ask");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bare = directory.write("bare.toml", "");
    let bare = bare.to_str().unwrap();
    for (arguments, words) in [
        (vec!["flows", "list", "--admin", &closed.to_string()], "is the server running?"),
        (vec!["flows", "list", "--config", bare], "no [admin] section"),
        (vec!["drain", "--config", bare], "no [admin] section"),
        (vec!["drain", "--admin", "https://edge1"], "speaks plain HTTP"),
    ] {
        let ended = run(sipway(&arguments)).await;
        assert_eq!(ended.code, Some(1), "{arguments:?}");
        assert!(ended.err.contains(words), "{arguments:?}: {}", ended.err);
    }
}

/// A page of another site whose name leads to this machine is of the same site as the API, for the browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_api_is_named_by_its_address() {
    let directory = Directory::new("rebound");
    let mut server = crate::defence::start(&directory, "").await;
    let admin = server.address("admin");
    let rebound = "Host: evil.example:80\r\nOrigin: http://evil.example:80\r\n";
    for (request, status) in [("GET /api/flows", 421), ("POST /api/drain", 421), ("GET /healthz", 200)] {
        let answer = ask(admin, request, rebound, "").await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
    }
    for host in [format!("localhost:{}", admin.port()), admin.to_string(), "[::1]:80".to_owned()] {
        let answer = ask(admin, "GET /api/drain", &format!("Host: {host}\r\n"), "").await;
        assert_eq!(answer.json()["state"], "serving", "{host}");
    }
    assert!(server.terminate().await.success());
}
