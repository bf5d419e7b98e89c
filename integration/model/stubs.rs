//! What the included files name and the model has no need of.

pub mod filter {
    pub trait Health {
        fn health(&self) -> Result<(), String>;
        fn facts(&self) -> Option<&serde_json::Value>;
    }

    pub struct Outside;
}

pub mod metrics {
    use std::rc::Rc;

    use crate::id::ApiName;

    pub struct ApiBlock;
    pub struct FilterBlock;
    pub struct ThreadMetrics;

    impl ThreadMetrics {
        pub fn api(&self, _name: &ApiName) -> Rc<ApiBlock> {
            Rc::new(ApiBlock)
        }
    }

    impl ApiBlock {
        pub fn filter(&self, _name: &str) -> Rc<FilterBlock> {
            Rc::new(FilterBlock)
        }
    }
}

pub mod release {
    #[derive(Clone, Copy)]
    pub struct Release;
}
