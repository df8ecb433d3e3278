//! What is promised of one method of one path: parameters, body, answers.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::problem::Failure;

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The media type of most bodies.
pub(super) const JSON: &str = "application/json";

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    pub(super) parameters: Vec<Parameters>,
    pub(super) body: Vec<(&'static str, SchemaOf)>,
    pub(super) body_required: bool,
    pub(super) answers: Vec<Answer>,
}

/// Parameters of one place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameters {
    /// Every member of an object is a parameter of the query.
    Query(SchemaOf),
    /// A part of the path, or a header.
    One { place: &'static str, name: &'static str, description: &'static str, schema: SchemaOf },
}

/// One kind of answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Empty,
    Of(&'static str, SchemaOf),
    Problem(&'static [&'static str]),
}

impl Operation {
    /// `id` is unique and stays; `tag` is the heading it stands under.
    pub fn new(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        let (parameters, body, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, tag, summary, description: String::new(), parameters, body, body_required: true, answers }
    }

    /// More than the summary says, as Markdown.
    pub fn describe(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// The members of `T` are the parameters of the query.
    pub fn query<T: JsonSchema>(mut self) -> Self {
        self.parameters.push(Parameters::Query(T::json_schema));
        self
    }

    /// A `{name}` of the path.
    pub fn path<T: JsonSchema>(self, name: &'static str, description: &'static str) -> Self {
        self.one("path", name, description, SchemaGenerator::subschema_for::<T>)
    }

    /// A header that may be sent.
    pub fn header<T: JsonSchema>(self, name: &'static str, description: &'static str) -> Self {
        self.one("header", name, description, SchemaGenerator::subschema_for::<T>)
    }

    fn one(mut self, place: &'static str, name: &'static str, description: &'static str, schema: SchemaOf) -> Self {
        self.parameters.push(Parameters::One { place, name, description, schema });
        self
    }

    /// A JSON body.
    pub fn body<T: JsonSchema>(self) -> Self {
        self.body_as::<T>(JSON)
    }

    /// A body of another media type, beside others.
    pub fn body_as<T: JsonSchema>(mut self, media: &'static str) -> Self {
        self.body.push((media, SchemaGenerator::subschema_for::<T>));
        self
    }

    /// The body may be left out.
    pub fn body_optional(mut self) -> Self {
        self.body_required = false;
        self
    }

    /// Answers with a JSON document.
    pub fn answer<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.answer_as::<T>(JSON, status, description)
    }

    /// Answers with another media type, beside others of the same status.
    pub fn answer_as<T: JsonSchema>(self, media: &'static str, status: u16, description: &'static str) -> Self {
        self.with(status, description, Content::Of(media, SchemaGenerator::subschema_for::<T>))
    }

    /// Answers with no body.
    pub fn empty(self, status: u16, description: &'static str) -> Self {
        self.with(status, description, Content::Empty)
    }

    /// Ways in which it can fail, each with a problem. One status may come several times.
    pub fn fails(mut self, failures: &[Failure]) -> Self {
        for Failure { status, codes, when } in failures {
            self = self.with(*status, when, Content::Problem(codes));
        }
        self
    }

    fn with(mut self, status: u16, description: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }
}
