use crate::Plain;

/// How one response is given to many callers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot give a `{Res}` to more than one caller",
    note = "for `http::Response` and `reqwest::Response`, add `.http()` to the layer",
    note = "otherwise the response must be `Clone`"
)]
pub trait Share<Res>: Clone {
    /// The response in a form that many can hold.
    type Shared: Clone + Send + Sync + 'static;

    /// The response each caller gets.
    type Response;

    /// Takes a response to share. `Err` gives back one that must have a single caller.
    fn capture(&self, response: Res) -> Result<Self::Shared, Self::Response>;

    /// One caller's own response.
    fn restore(&self, shared: &Self::Shared) -> Self::Response;
}

#[diagnostic::do_not_recommend]
impl<Res: Clone + Send + Sync + 'static> Share<Res> for Plain {
    type Shared = Res;
    type Response = Res;

    fn capture(&self, response: Res) -> Result<Res, Res> {
        Ok(response)
    }

    fn restore(&self, shared: &Res) -> Res {
        shared.clone()
    }
}
