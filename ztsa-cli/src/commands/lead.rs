//! Leads a person to a sign-in where a command needs one, once, and goes on with the same command.

use ztsa_core::client::Client;
use ztsa_proto::problem::{Problem, Retry};

use super::Context;
use super::sign_in::{SignedIn, Wish, sign_in};
use crate::report::Failure;
use crate::settings::remembered::Wanted;

/// How often a command waits for the sign-in that another process asks for.
const WAITS: u32 = 3;

/// Where one command has led the person already.
#[derive(Debug, Default)]
pub(crate) struct Lead {
    login: bool,
    step_up: bool,
    waits: u32,
}

/// What a command lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lack {
    /// Any sign-in.
    Login,
    /// A stronger or fresher one.
    StepUp(Box<Problem>),
}

impl Lead {
    /// Leads the person to what a failure asks for; `Ok` when the same work may be tried again.
    ///
    /// # Errors
    /// The failure itself, where no sign-in helps, nobody is there, or the person has been there already.
    pub(crate) async fn after(&mut self, context: &Context, client: &Client, failure: Failure) -> Result<(), Failure> {
        let Some(lack) = lack(&failure) else { return Err(failure) };
        let (printer, dir) = (&context.printer, context.settings.profile_dir()?);
        let wish = match &lack {
            Lack::Login => Wish { because: Some(failure.to_string()), ..Wish::default() },
            Lack::StepUp(problem) => {
                // another process may have been there since
                if !self.step_up && client.look_again().await {
                    self.waits += 1;
                    if self.waits <= WAITS {
                        return Ok(());
                    }
                }
                let wanted = Wanted::of(&app(&failure), problem, client.now());
                wanted.write(&dir).map_err(Failure::writing(&dir))?;
                Wish {
                    demand: wanted.demand(),
                    because: Some(format!("{}: {problem}", app(&failure))),
                    ..Wish::default()
                }
            }
        };
        let been = match lack {
            Lack::Login => self.login || self.step_up,
            Lack::StepUp(_) => self.step_up,
        };
        if been {
            return Err(not_enough(failure));
        }
        if !printer.present() {
            return Err(failure);
        }
        match sign_in(context, client, wish).await? {
            SignedIn::Here(session) => {
                let who = super::status::person(&session);
                printer.say(&format!("{} signed in as {who}", printer.err_style().good("ok:")));
                match lack {
                    Lack::Login => self.login = true,
                    Lack::StepUp(_) => self.step_up = true,
                }
                Wanted::forget(&dir);
            }
            SignedIn::Elsewhere(_) => {
                self.waits += 1;
                if self.waits > WAITS {
                    return Err(failure);
                }
            }
        }
        Ok(())
    }
}

/// Keeps in the profile what a refusal asked for, so that `ztsa login` in another terminal asks for it.
pub(crate) fn note(context: &Context, client: &Client, app: &str, problem: &Problem) {
    if problem.retry == Retry::AfterStepUp
        && let Ok(dir) = context.settings.profile_dir()
        && let Err(error) = Wanted::of(app, problem, client.now()).write(&dir)
    {
        tracing::debug!(%error, "what the step-up asks for was not kept");
    }
}

fn lack(failure: &Failure) -> Option<Lack> {
    let (retry, problem) = match failure {
        Failure::Denied { problem, .. } => (problem.retry, Some(&**problem)),
        Failure::Core { error, .. } => (error.retry(), error.problem()),
        _ => return None,
    };
    match (retry, problem) {
        (Retry::AfterLogin, _) => Some(Lack::Login),
        (Retry::AfterStepUp, Some(problem)) => Some(Lack::StepUp(Box::new(problem.clone()))),
        _ => None,
    }
}

fn app(failure: &Failure) -> String {
    match failure {
        Failure::Denied { app, .. } | Failure::Core { app: Some(app), .. } => app.clone(),
        _ => "the gateway".to_owned(),
    }
}

/// The person has signed in as was asked, and it is still not enough: the issuer did something else.
fn not_enough(failure: Failure) -> Failure {
    let (app, problem) = match failure {
        Failure::Denied { app, problem } => (app, problem),
        Failure::Core { app, error } => match error.problem() {
            Some(problem) => (app.unwrap_or_else(|| "the gateway".to_owned()), Box::new(problem.clone())),
            None => return Failure::Core { app, error },
        },
        other => return other,
    };
    let wanted = match (&problem.acr_values, problem.max_age) {
        (Some(values), _) => format!("a sign-in with acr {values}"),
        (None, Some(_)) => "a fresher sign-in".to_owned(),
        (None, None) => "a stronger sign-in".to_owned(),
    };
    let remedy = format!(
        "You have just signed in again, and the issuer did not tell of {wanted}. Ask your administrator whether it can; \
         `ztsa login --browser` may offer more than a code does."
    );
    Failure::Denied { app, problem: Box::new(problem.with_remedy(remedy)) }
}

#[cfg(test)]
mod tests {
    use ztsa_core::token::{LoginReason, TokenError};
    use ztsa_proto::problem;

    use super::*;
    use crate::report::Report;

    fn denied(code: &str) -> Failure {
        let problem = problem::new(code).with_step_up(Some("mfa".to_owned()), None);
        Failure::Denied { app: "payroll".to_owned(), problem: Box::new(problem) }
    }

    #[test]
    fn only_a_lack_of_sign_in_leads_anywhere() {
        for (failure, expected) in [
            (TokenError::LoginRequired(LoginReason::Never).into(), Some("login")),
            (denied("auth.step_up"), Some("step-up")),
            (denied("policy.no_match"), None),
            (denied("risk.user"), None),
            (denied("auth.proof"), None),
            (Failure::OutputClosed, None),
        ] {
            let found = lack(&failure).map(|lack| match lack {
                Lack::Login => "login",
                Lack::StepUp(problem) => {
                    assert_eq!(problem.acr_values.as_deref(), Some("mfa"));
                    "step-up"
                }
            });
            assert_eq!(found, expected, "{failure}");
        }
    }

    #[test]
    fn who_has_been_there_is_told_that_it_was_not_enough() {
        let report = Report::of(&not_enough(denied("auth.step_up")));
        assert_eq!(report.exit, 8);
        assert!(report.hint.unwrap().contains("the issuer did not tell of a sign-in with acr mfa"));
    }
}
