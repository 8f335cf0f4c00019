//! The start page and the documentation's pages.

use axum::body::Body;

use crate::support::{Api, Setup};

const FILES: [&str; 4] = ["/", "/assets/start.css", "/assets/start.js", "/assets/live.js"];

#[tokio::test]
async fn files_are_revalidated_by_their_tags() {
    let api = Api::new(Setup::default());
    for path in FILES {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        let tag = answer.header("etag");
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = api.send("GET", path, &[("if-none-match", &known)], Body::empty()).await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{known}");
            assert_eq!(again.header("etag"), tag);
        }
        let other = api.send("GET", path, &[("if-none-match", "\"x\"")], Body::empty()).await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn every_url_of_the_start_page_leads_somewhere_here() {
    let api = Api::new(Setup::default());
    let html = String::from_utf8(api.get("/").await.body.to_vec()).unwrap();
    let urls: Vec<&str> = ["href=\"", "src=\""]
        .iter()
        .flat_map(|attribute| html.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|url| !url.starts_with("data:"))
        .collect();
    assert!(urls.len() > 10, "{urls:?}");
    for url in urls {
        assert!(url.starts_with('/') && !url.starts_with("//"), "{url} is not of this server");
        assert_eq!(api.get(&url.replace("&amp;", "&")).await.status, 200, "{url}");
    }
}

#[tokio::test]
async fn every_figure_of_the_page_is_in_the_answer() {
    let api = Api::new(Setup::default());
    let html = String::from_utf8(api.get("/").await.body.to_vec()).unwrap();
    let answer = api.get("/api/v1/kelly/monitoring/metrics").await.json();
    let fields: Vec<&str> =
        html.split("data-field=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(fields.len() + 1, answer.as_object().unwrap().len(), "all but the timestamp");
    for field in fields {
        assert!(answer.get(field).is_some(), "{field}");
    }
}

/// A figure that is of all metrics has no series of its own.
#[tokio::test]
async fn every_metric_behind_a_figure_can_be_taken_along() {
    let api = Api::new(Setup::default());
    let html = String::from_utf8(api.get("/").await.body.to_vec()).unwrap();
    let catalogue = api.get("/api/v1/kelly/monitoring/catalogue").await.json();
    let figures = catalogue["overview"].as_array().unwrap();
    let metrics: Vec<&str> = figures.iter().filter_map(|figure| figure["metric"].as_str()).collect();
    assert!(metrics.len() > 5, "{metrics:?}");
    let paths = metrics.iter().map(|metric| format!("metrics/detailed/{metric}"));
    for path in paths.chain(["activity/export".to_owned()]) {
        for format in ["csv", "parquet", "arrow"] {
            let link = format!("/{path}?timeframe=24h&amp;format={format}\"");
            assert!(html.contains(&link), "{link}");
        }
    }
}

#[tokio::test]
async fn the_documentation_needs_nobody_else() {
    let api = Api::new(Setup::default());
    let page = api.get("/api/docs/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("script-src 'self';"));
    let html = String::from_utf8_lossy(&page.body).into_owned();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let start = api.get("/api/docs/swagger-initializer.js").await;
    assert_eq!(start.status, 200);
    let script = String::from_utf8_lossy(&start.body).into_owned();
    assert!(script.contains("/api/openapi.json"), "{script}");
    assert!(script.contains("\"validatorUrl\": \"none\""), "{script}");
}
