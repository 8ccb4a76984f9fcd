//! Where the tasks of some names go: Celery's `task_routes` (`celery/app/routes.py`).

use std::borrow::Cow;
use std::collections::HashMap;

use regex_lite::Regex;

use super::queue::{Route, glob_matches};
use crate::protocol::TaskMessage;

/// What is asked in this order until one answers.
#[derive(Default)]
pub(super) struct Routers(Vec<Router>);

enum Router {
    Map(MapRoute),
    Function(Box<Function>),
}

type Function = dyn Fn(&TaskMessage) -> Option<Route> + Send + Sync;

/// Names come before patterns, and patterns in their order.
#[derive(Default)]
struct MapRoute {
    names: HashMap<String, Route>,
    patterns: Vec<(Pattern, Route)>,
}

enum Pattern {
    Glob(String),
    Regex(Regex),
}

impl Routers {
    /// A name, or a pattern with `*` or `?`.
    pub(super) fn add(&mut self, pattern: String, route: Route) {
        if pattern.contains(['*', '?']) {
            self.map().patterns.push((Pattern::Glob(pattern), route));
        } else {
            self.map().names.insert(pattern, route);
        }
    }

    /// # Errors
    /// What is wrong with the regular expression.
    pub(super) fn add_regex(&mut self, pattern: &str, route: Route) -> Result<(), regex_lite::Error> {
        // As Python's `re.match`: from the beginning of the name, not to its end.
        let regex = Regex::new(&format!("^(?:{pattern})"))?;
        self.map().patterns.push((Pattern::Regex(regex), route));
        Ok(())
    }

    pub(super) fn add_function(&mut self, function: impl Fn(&TaskMessage) -> Option<Route> + Send + Sync + 'static) {
        self.0.push(Router::Function(Box::new(function)));
    }

    pub(super) fn route(&self, message: &TaskMessage) -> Option<Cow<'_, Route>> {
        self.0.iter().find_map(|router| match router {
            Router::Map(map) => map.route(&message.task).map(Cow::Borrowed),
            Router::Function(function) => function(message).map(Cow::Owned),
        })
    }

    /// What is added between two functions is one map.
    fn map(&mut self) -> &mut MapRoute {
        if !matches!(self.0.last(), Some(Router::Map(_))) {
            self.0.push(Router::Map(MapRoute::default()));
        }
        match self.0.last_mut() {
            Some(Router::Map(map)) => map,
            _ => unreachable!("a map was added last"),
        }
    }
}

impl MapRoute {
    fn route(&self, task: &str) -> Option<&Route> {
        let fits = |(pattern, _): &&(Pattern, Route)| match pattern {
            Pattern::Glob(glob) => glob_matches(glob, task),
            Pattern::Regex(regex) => regex.is_match(task),
        };
        self.names.get(task).or_else(|| self.patterns.iter().find(fits).map(|(_, route)| route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RawJson;

    fn routed(routers: &Routers, task: &str) -> Option<String> {
        let message = TaskMessage::new(task, "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
        routers.route(&message)?.queue.clone()
    }

    #[test]
    fn names_come_before_patterns_and_patterns_in_their_order() {
        let mut routers = Routers::default();
        routers.add("shop.*".into(), Route::queue("glob"));
        routers.add_regex(r"(shop|cinema)\.(pay|refund)", Route::queue("regex")).unwrap();
        routers.add("shop.pay".into(), Route::queue("name"));
        for (task, queue) in [
            ("shop.pay", Some("name")),
            ("shop.refund", Some("glob")),
            ("cinema.refunded", Some("regex")),
            ("old.cinema.refund", None),
        ] {
            assert_eq!(routed(&routers, task).as_deref(), queue, "{task}");
        }
    }

    #[test]
    fn routers_are_asked_in_their_order_until_one_answers() {
        let mut routers = Routers::default();
        routers.add("a.*".into(), Route::queue("first map"));
        routers.add_function(|message| message.task.ends_with(".slow").then(|| Route::queue("function")));
        routers.add("b.slow".into(), Route::queue("second map"));
        routers.add("b.*".into(), Route::queue("second map"));
        for (task, queue) in
            [("a.slow", Some("first map")), ("b.slow", Some("function")), ("b.fast", Some("second map")), ("c", None)]
        {
            assert_eq!(routed(&routers, task).as_deref(), queue, "{task}");
        }
    }
}
