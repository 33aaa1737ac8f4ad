//! What all fakes have in common: they note each call, and fail where a test told them to.

use crate::{Error, Result};

/// The calls that a fake got so far, and which is to fail.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    made: Vec<String>,
    fail_call: Option<usize>,
    fail_method: Option<&'static str>,
}

impl Calls {
    /// The `n`th call from now on (from 1) fails, once; 0: none does. True if the failure that was asked for before
    /// has not come up.
    pub(crate) fn fail_call(&mut self, n: usize) -> bool {
        let next = (n > 0).then_some(self.made.len() + n);
        std::mem::replace(&mut self.fail_call, next).is_some()
    }

    /// Each call of this method fails, until `None` is said.
    pub(crate) fn fail_method(&mut self, method: Option<&'static str>) {
        self.fail_method = method;
    }

    /// The calls so far, in order: the method, and its object where it has one (`create 101`). Also those that failed.
    pub(crate) fn made(&self) -> Vec<String> {
        self.made.clone()
    }

    /// Notes a call, and fails if it is to.
    pub(crate) fn note(&mut self, method: &'static str, object: impl std::fmt::Display) -> Result<()> {
        let object = object.to_string();
        self.made.push(format!("{method} {object}").trim_end().to_owned());
        let by_number = self.fail_call == Some(self.made.len());
        if by_number {
            self.fail_call = None;
        }
        match by_number || self.fail_method == Some(method) {
            true => Err(Error::new(method, object, "the fake was told to fail")),
            false => Ok(()),
        }
    }
}

/// The part of every fake that tests steer it with; its state is behind `self.state()` and has `calls`.
macro_rules! steered {
    ($fake:ty) => {
        impl $fake {
            /// The `n`th call from now on (from 1) fails, once; 0: none does. True if the failure that was asked for
            /// before has not come up.
            pub fn fail_call(&self, n: usize) -> bool {
                self.state().calls.fail_call(n)
            }

            /// Each call of this method fails, until `None` is said.
            pub fn fail_method(&self, method: Option<&'static str>) {
                self.state().calls.fail_method(method);
            }

            /// The calls so far, in order: the method, and its object where it has one (`create 101`). Also those
            /// that failed.
            pub fn calls(&self) -> Vec<String> {
                self.state().calls.made()
            }
        }
    };
}
pub(crate) use steered;
