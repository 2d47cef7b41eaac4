//! What a handle or a draft knows of its task's kind: a handler's types, or nothing.

use crate::{Handler, Result, payload};

/// The kind of a [`TaskHandle`](crate::TaskHandle): every [`Handler`], or [`Untyped`]. Users do not implement it.
pub trait TaskKind: sealed::Sealed + 'static {
    /// What [`result`](crate::TaskHandle::result) gives.
    type Output;
    /// The kind's name, where it is known.
    const NAME: Option<&'static str>;
    #[doc(hidden)]
    fn decode_output(bytes: &[u8]) -> Result<Self::Output>;
}

/// Of a kind that is not known here.
#[derive(Clone, Copy, Debug)]
pub enum Untyped {}

impl<H: Handler> TaskKind for H {
    type Output = H::Output;
    const NAME: Option<&'static str> = Some(H::KIND);
    fn decode_output(bytes: &[u8]) -> Result<H::Output> {
        payload::decode(H::KIND, "output", bytes)
    }
}

impl TaskKind for Untyped {
    type Output = serde_json::Value;
    const NAME: Option<&'static str> = None;
    fn decode_output(bytes: &[u8]) -> Result<serde_json::Value> {
        payload::decode("(untyped)", "output", bytes)
    }
}

mod sealed {
    pub trait Sealed {}
    impl<H: crate::Handler> Sealed for H {}
    impl Sealed for super::Untyped {}
}
