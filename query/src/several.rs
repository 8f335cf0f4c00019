//! The answer of `metrics/detailed?metrics=…`: several metrics over one range.

use serde::Serialize;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::detailed::{Detailed, DetailedRequest};
use crate::error::QueryError;
use crate::limits::{MAX_METRICS, TooLarge};
use crate::service::QueryService;
use crate::whose::Whose;

/// Metrics of one question that are asked of the store at once; the next ones wait, so that one question leaves room for
/// others.
pub const METRICS_AT_ONCE: usize = 4;

/// What to answer: each of the metrics as a [`DetailedRequest`] of its name would be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SeveralRequest {
    /// The metrics, each once.
    pub metric_names: Vec<String>,
    /// Everything else; its `metric_name` is not read.
    pub each: DetailedRequest,
}

/// Several metrics over one range.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Several {
    /// One answer a metric, in the order they were asked for, those of `unknown_metrics` left out.
    pub metrics: Vec<Detailed>,
    /// Names that the catalogue does not have and of which nothing is kept that the asker may see, so that a misspelling is seen as one.
    pub unknown_metrics: Vec<String>,
}

impl QueryService {
    /// Several metrics over one range.
    ///
    /// # Errors
    /// When a parameter is at fault, too many metrics are named, or the store does not answer.
    pub async fn several(&self, request: SeveralRequest) -> Result<Several, QueryError> {
        request.check()?;
        // Of the accounts that the asker may see, whichever one is named: a name they know is not misspelt.
        let seen_by_asker = request.each.accounts.clone();
        let whose = Whose::asked(None, &seen_by_asker)?;
        let requests: Vec<DetailedRequest> = request
            .metric_names
            .into_iter()
            .map(|metric_name| DetailedRequest { metric_name, ..request.each.clone() })
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(METRICS_AT_ONCE) {
            answers.extend(self.each(some).await?);
        }
        let doubtful: Vec<&str> = answers
            .iter()
            .filter(|answer| answer.sample_count == 0)
            .map(|answer| answer.metric_name.as_str())
            .filter(|name| self.parts().catalogue.known(name).is_none())
            .collect();
        let seen = self.parts().store.metrics_seen(&doubtful, whose.filter()).await;
        let seen = seen.map_err(QueryError::from_store("several metrics"))?;
        let unknown_metrics: Vec<String> =
            doubtful.into_iter().filter(|name| !seen.contains(*name)).map(str::to_owned).collect();
        answers.retain(|answer| !unknown_metrics.contains(&answer.metric_name));
        Ok(Several { metrics: answers, unknown_metrics })
    }

    /// One answer a request, in their order. When one fails the others are given up.
    async fn each(&self, requests: &[DetailedRequest]) -> Result<Vec<Detailed>, QueryError> {
        let mut tasks = JoinSet::new();
        for (place, request) in requests.iter().cloned().enumerate() {
            let service = self.clone();
            tasks.spawn(async move { (place, service.detailed(request).await) });
        }
        let mut answers: Vec<Option<Detailed>> = vec![None; requests.len()];
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok((place, answer)) => answers[place] = Some(answer?),
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only dropping the set cancels a task, which ends this loop too.
                    Err(_) => break,
                },
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

impl SeveralRequest {
    /// Refuses no metric, too many, one that is named twice, and what each of the questions would be refused for.
    ///
    /// # Errors
    /// Naming the parameter at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        check(&self.metric_names)?;
        let named = |name: &String| DetailedRequest { metric_name: name.clone(), ..self.each.clone() };
        self.metric_names.iter().try_for_each(|name| named(name).check())
    }
}

fn check(names: &[String]) -> Result<(), QueryError> {
    if names.is_empty() {
        return Err(QueryError::bad("metrics", "names no metric; give their names with commas between them"));
    }
    if names.len() > MAX_METRICS {
        return Err(TooLarge::of_metrics(names.len()).into());
    }
    let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
    twice.map_or(Ok(()), |(_, name)| {
        Err(QueryError::bad("metrics", format!("names {name} twice; once is enough")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_few_and_different() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let many: Vec<String> = (0..MAX_METRICS).map(|number| format!("m{number}")).collect();
        assert!(check(&many).is_ok());
        let more = [many, names(&["one_more"])].concat();
        let cases = [
            (names(&[]), "bad_parameter"),
            (names(&["a", "b", "a"]), "bad_parameter"),
            (more, "query_too_large"),
        ];
        let mut refusals = Vec::new();
        for (names, code) in cases {
            let error = check(&names).unwrap_err();
            assert_eq!((error.code(), error.parameter()), (code, Some("metrics")));
            refusals.push(error.to_string());
        }
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
