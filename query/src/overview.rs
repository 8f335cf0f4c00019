//! The answer of `GET /monitoring/metrics`: the figures of the whole house at one glance, or of the accounts that the asker may see.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use kelly_schemas::overview::{OverviewFigure, Statistic, Window};
use kelly_sql::queries::{AccountMetricSince, CountedFrom, FigureRow, MetricSince};
use serde::Serialize;
use utoipa::ToSchema;

/// The live figures, each as the metric catalogue defines it. A window ends at `timestamp`; today began at 00:00
/// UTC. A figure without samples in its window is null, never zero; only `conversations_active` is zero as
/// soon as a conversation is known of today. Who is limited to accounts gets the figures of those: what belongs to no account, as
/// the load of a host, is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Overview {
    /// Different conversations with at least one metric or event in the last 15 minutes.
    pub conversations_active: Option<u64>,
    /// Different conversations with at least one metric or event since 00:00 UTC.
    pub conversations_total_today: Option<u64>,
    /// Messages processed since 00:00 UTC.
    pub messages_processed: Option<u64>,
    /// Mean confidence of the last hour, every reading alike.
    pub ai_confidence_avg: Option<f64>,
    /// Mean safety score of the last hour, every reading alike.
    pub safety_score_avg: Option<f64>,
    /// Conversations that a person took over since 00:00 UTC.
    pub human_interventions: Option<u64>,
    /// Alerts that are open now.
    pub alert_count: Option<u64>,
    /// Mean load of the last five minutes over all hosts that report one.
    pub system_load: Option<f64>,
    /// Mean time to an answer in the last hour, every answer alike.
    pub response_time_avg: Option<f64>,
    /// Requests to Claude since 00:00 UTC.
    pub claude_requests_today: Option<u64>,
    /// Cost of requests to Claude since 00:00 UTC.
    pub claude_cost_today: Option<f64>,
    /// When the figures were taken.
    pub timestamp: DateTime<Utc>,
}

/// The store's questions behind the figures, each with the field it answers.
#[derive(Debug, Default)]
pub(crate) struct Questions<'a> {
    pub(crate) metrics: Vec<MetricSince>,
    /// Instants, in milliseconds since 1970.
    pub(crate) conversations: Vec<i64>,
    metric_figures: Vec<&'a OverviewFigure>,
    conversation_figures: Vec<&'a OverviewFigure>,
}

/// Turns the catalogue's definitions into questions. Pure.
pub(crate) fn questions(figures: &[OverviewFigure], now: DateTime<Utc>) -> Questions<'_> {
    let mut questions = Questions::default();
    for figure in figures {
        let since_ms = start(figure.window, now).timestamp_millis();
        match (figure.statistic, &figure.metric) {
            (Statistic::DistinctConversations, None) => {
                questions.conversations.push(since_ms);
                questions.conversation_figures.push(figure);
            }
            (Statistic::Sum | Statistic::Mean | Statistic::Last, Some(metric)) => {
                questions.metrics.push(MetricSince { metric: metric.clone(), since_ms });
                questions.metric_figures.push(figure);
            }
            // Values are of a metric, conversations are of all: a test sees to it that the catalogue says no other.
            (Statistic::Sum | Statistic::Mean | Statistic::Last, None)
            | (Statistic::DistinctConversations, Some(_)) => {}
        }
    }
    questions
}

impl Questions<'_> {
    /// The same questions about accounts, of which there are hours and, from `samples_from` on, samples: a day of today in
    /// whole hours, a window of the last seconds or minutes sample by sample.
    pub(crate) fn of_accounts(&self, samples_from: DateTime<Utc>) -> Vec<AccountMetricSince> {
        let asked = self.metrics.iter().zip(&self.metric_figures);
        asked
            .map(|(asked, figure)| {
                let are_samples_kept = asked.since_ms >= samples_from.timestamp_millis();
                let counted_from = match figure.window {
                    Window::Seconds(_) if are_samples_kept => CountedFrom::Samples,
                    Window::Seconds(_) | Window::Today => CountedFrom::Hours,
                };
                AccountMetricSince { metric: asked.metric.clone(), since_ms: asked.since_ms, counted_from }
            })
            .collect()
    }

    /// Puts the store's answers, in the order of the questions, into the fields.
    pub(crate) fn answer(
        &self,
        metrics: &[Option<FigureRow>],
        conversations: &[Option<u64>],
        now: DateTime<Utc>,
    ) -> Overview {
        let values = self.metric_figures.iter().zip(metrics).filter_map(|(figure, row)| {
            let row = (*row)?;
            let value = match figure.statistic {
                Statistic::Sum => row.sum,
                Statistic::Mean => row.sum / row.count as f64,
                Statistic::Last => row.last,
                Statistic::DistinctConversations => return None,
            };
            Some((figure.field.as_str(), value))
        });
        let counts = self
            .conversation_figures
            .iter()
            .zip(conversations)
            .filter_map(|(figure, count)| Some((figure.field.as_str(), (*count)? as f64)));
        let mut overview = Overview::empty(now);
        for (field, value) in values.chain(counts) {
            overview.set(field, value);
        }
        // Conversations are known of today, so that none of them is active is known too.
        if overview.conversations_total_today.is_some() {
            overview.conversations_active.get_or_insert(0);
        }
        overview
    }
}

impl Overview {
    fn empty(now: DateTime<Utc>) -> Self {
        Self {
            conversations_active: None,
            conversations_total_today: None,
            messages_processed: None,
            ai_confidence_avg: None,
            safety_score_avg: None,
            human_interventions: None,
            alert_count: None,
            system_load: None,
            response_time_avg: None,
            claude_requests_today: None,
            claude_cost_today: None,
            timestamp: now,
        }
    }

    fn set(&mut self, field: &str, value: f64) {
        // Counters may be recorded as fractions; a count that is shown is whole.
        let whole = Some(value.round().max(0.0) as u64);
        match field {
            "conversations_active" => self.conversations_active = whole,
            "conversations_total_today" => self.conversations_total_today = whole,
            "messages_processed" => self.messages_processed = whole,
            "ai_confidence_avg" => self.ai_confidence_avg = Some(value),
            "safety_score_avg" => self.safety_score_avg = Some(value),
            "human_interventions" => self.human_interventions = whole,
            "alert_count" => self.alert_count = whole,
            "system_load" => self.system_load = Some(value),
            "response_time_avg" => self.response_time_avg = Some(value),
            "claude_requests_today" => self.claude_requests_today = whole,
            "claude_cost_today" => self.claude_cost_today = Some(value),
            // The catalogue may define figures for others than this answer, e.g. a dashboard of its own.
            _ => {}
        }
    }
}

fn start(window: Window, now: DateTime<Utc>) -> DateTime<Utc> {
    match window {
        Window::Today => now.date_naive().and_time(NaiveTime::MIN).and_utc(),
        Window::Seconds(seconds) => now - TimeDelta::seconds(i64::from(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use kelly_schemas::Catalogue;

    use super::*;

    #[test]
    fn the_answer_has_the_fields_of_the_specification() {
        let now = DateTime::parse_from_rfc3339("2024-09-11T15:30:45Z").unwrap().to_utc();
        let questions = questions(Catalogue::builtin().overview(), now);
        let row = FigureRow { count: 4, sum: 10.5, last: 3.0 };
        let metrics = vec![Some(row); questions.metrics.len()];
        let full = questions.answer(&metrics, &[Some(45), Some(234)], now);
        insta::assert_json_snapshot!("full", full);
        // Somebody was here today, nobody is now: that is known to be none.
        let quiet = questions.answer(&vec![None; questions.metrics.len()], &[None, Some(234)], now);
        assert_eq!((quiet.conversations_active, quiet.messages_processed), (Some(0), None));
    }

    #[test]
    fn figures_of_accounts_are_counted_from_what_is_kept_of_them() {
        let now = DateTime::parse_from_rfc3339("2024-09-11T15:30:45Z").unwrap().to_utc();
        let questions = questions(Catalogue::builtin().overview(), now);
        let counted = |hours: i64, metric: &str| {
            let asked = questions.of_accounts(now - TimeDelta::hours(hours));
            asked.iter().find(|asked| asked.metric == metric).unwrap().counted_from
        };
        // An hour is kept when samples are kept for an hour.
        for (hours, metric, expected) in [
            (72, "messages", CountedFrom::Hours),
            (72, "ai_confidence", CountedFrom::Samples),
            (1, "ai_confidence", CountedFrom::Samples),
            (0, "ai_confidence", CountedFrom::Hours),
        ] {
            assert_eq!(counted(hours, metric), expected, "{metric}, samples of {hours} hours");
        }
    }

    #[test]
    fn today_began_at_midnight_utc() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        assert_eq!(start(Window::Today, at("2024-09-12T01:30:00+02:00")), at("2024-09-11T00:00:00Z"));
        assert_eq!(start(Window::Seconds(90), at("2024-09-11T00:01:00Z")), at("2024-09-10T23:59:30Z"));
    }
}
