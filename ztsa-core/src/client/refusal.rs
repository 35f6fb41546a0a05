//! Every failure to open an app as a problem document, because that is what listeners can pass on.

use ztsa_proto::problem::{self, Problem, Retry};

use crate::api::ApiError;
use crate::http::HttpError;
use crate::token::TokenError;
use crate::tunnel::OpenError;

/// Says why a tunnel was not opened.
pub(super) fn of_open(error: OpenError) -> Problem {
    match error {
        OpenError::Refused(problem) => *problem,
        OpenError::Token(error) => of_token(&error),
        OpenError::Unreachable { .. } => told("gateway.unavailable", &error.to_string(), error.hint()),
        OpenError::Lost(_) => told("network.lost", &error.to_string(), error.hint()),
        // no use in waiting for these
        OpenError::NotATunnel { .. } => told("gateway.protocol", &error.to_string(), error.hint()),
        OpenError::Sign(_) => told("auth.required", &error.to_string(), error.hint()),
    }
}

/// Says why the gateway did not answer a question.
pub(super) fn of_api(error: &ApiError) -> Problem {
    match error {
        ApiError::Denied(problem) => (**problem).clone(),
        ApiError::Token(error) => of_token(error),
        ApiError::Http(error) => of_http(error),
    }
}

/// Says why there is no session.
pub(super) fn of_token(error: &TokenError) -> Problem {
    if let Some(problem) = error.problem() {
        return problem.clone();
    }
    match error {
        TokenError::Gateway(error) => of_http(error),
        TokenError::Issuer(_) => told("auth.issuer", &error.to_string(), error.hint()),
        _ if error.retry() == Retry::AfterLogin => told("auth.required", &error.to_string(), error.hint()),
        _ => told("gateway.unavailable", &error.to_string(), error.hint()),
    }
}

fn of_http(error: &HttpError) -> Problem {
    let code = if error.is_temporary() { "gateway.unavailable" } else { "gateway.protocol" };
    told(code, &error.to_string(), error.hint())
}

fn told(code: &str, detail: &str, remedy: String) -> Problem {
    problem::new(code).with_detail(detail).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::LoginReason;

    #[test]
    fn every_failure_has_a_code_that_a_listener_can_pass_on() {
        let gateway = || "gw.example.com".to_owned();
        let table = [
            (OpenError::Refused(Box::new(problem::new("risk.user"))), "risk.user", 4),
            (TokenError::LoginRequired(LoginReason::Never).into(), "auth.required", 3),
            (OpenError::Unreachable { gateway: gateway(), cause: "no route".to_owned() }, "gateway.unavailable", 6),
            (OpenError::Lost("reset".to_owned()), "network.lost", 6),
            (OpenError::NotATunnel { gateway: gateway(), seen: "a page".to_owned() }, "gateway.protocol", 6),
            (OpenError::Sign("no".to_owned()), "auth.required", 3),
        ];
        for (error, code, exit) in table {
            let text = error.to_string();
            let problem = of_open(error);
            assert_eq!((problem.code.as_str(), problem.exit()), (code, exit), "{text}");
            assert!(problem.remedy.is_some());
        }
    }
}
