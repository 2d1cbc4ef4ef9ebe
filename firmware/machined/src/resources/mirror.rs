//! A reconciler that writes down what a subject of the node says.

use reconcile::{Context, Declaration, Failure, Output, Reconciler, Task};
use tokio::sync::watch;

/// What becomes of a subject.
type Derive<S> = Box<dyn FnMut(&S, &Context) -> Result<(), Failure> + Send>;

/// Writes a subject down whenever it changes.
pub(super) struct Mirror<S> {
    name: &'static str,
    outputs: Vec<Output>,
    subject: watch::Receiver<S>,
    derive: Derive<S>,
}

impl<S> Mirror<S> {
    /// `derive` keeps each of the `outputs`.
    pub(super) fn new(
        name: &'static str,
        subject: &watch::Sender<S>,
        outputs: Vec<Output>,
        derive: impl FnMut(&S, &Context) -> Result<(), Failure> + Send + 'static,
    ) -> Self {
        Self { name, outputs, subject: subject.subscribe(), derive: Box::new(derive) }
    }
}

impl<S: Send + Sync + 'static> Reconciler for Mirror<S> {
    fn declaration(&self) -> Declaration {
        Declaration { name: self.name, inputs: Vec::new(), outputs: self.outputs.clone() }
    }

    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(async {
            if self.subject.changed().await.is_err() {
                // The node is gone, and this with it.
                std::future::pending::<()>().await;
            }
        })
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(async {
            let value = self.subject.borrow_and_update();
            (self.derive)(&value, context)
        })
    }
}
