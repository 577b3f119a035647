//! What a browser sees.

use anyhow::anyhow;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Multipart, Path, Request, State as Shared, multipart::MultipartError},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use filesafety::ClientError;
use tokio::{fs, io::AsyncWriteExt as _};

use crate::{avatars::State, moderation::Desk, page};

/// The largest picture.
const PICTURE_MAX: usize = 5 << 20;
/// A form weighs more than its file.
const FORM_SLACK: usize = 64 << 10;
const NAME_MAX: usize = 255;

const POLICY: &str = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

pub(crate) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/avatars", post(upload).layer(DefaultBodyLimit::max(PICTURE_MAX + FORM_SLACK)))
        .route("/avatars/{id}", get(picture))
        .route("/avatars/{id}/review", get(under_review))
        .route("/avatars/{id}/approve", post(approve))
        .route("/avatars/{id}/reject", post(reject))
        .route("/page.css", get(([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("page.css"))))
        .route("/icon.svg", get(([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("icon.svg"))))
        .route("/page.js", get(([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))))
        .layer(middleware::from_fn(guard))
        .with_state(desk)
}

/// A problem that the person at the form can do something about, or that is ours.
struct Problem(StatusCode, &'static str);

async fn show(Shared(desk): Shared<Desk>) -> Result<Response, Ours> {
    Ok(Html(page::render(&desk.avatars.newest().await?, None)).into_response())
}

async fn upload(
    Shared(desk): Shared<Desk>,
    form: Result<Multipart, axum::extract::multipart::MultipartRejection>,
) -> Result<Response, Ours> {
    let form = form.map_err(|_| Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Use the form to send a picture."));
    let taken = match form {
        Ok(form) => take(&desk, form).await?,
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(()) => Ok(Redirect::to("/").into_response()),
        Err(Problem(status, text)) => {
            let html = Html(page::render(&desk.avatars.newest().await?, Some(text)));
            Ok((status, html).into_response())
        }
    }
}

/// Keeps the file, writes its row, submits it. What cannot be submitted is not kept.
async fn take(desk: &Desk, form: Multipart) -> Result<Result<(), Problem>, Ours> {
    let (name, bytes) = match read(form).await {
        Ok(file) => file,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut entropy = [0; 16];
    getrandom::fill(&mut entropy).map_err(|error| anyhow!("no entropy: {error}"))?;
    let id = data_encoding::HEXLOWER.encode(&entropy);
    let path = desk.files.join(&id);
    let mut file = fs::File::create_new(&path).await?;
    file.write_all(&bytes).await?;
    file.sync_all().await?;
    desk.avatars.add(id.clone(), name).await?;
    let Err(error) = desk.submit(&id, 1).await else { return Ok(Ok(())) };
    tracing::warn!(%error, "an upload was not submitted");
    desk.avatars.remove(id).await?;
    fs::remove_file(path).await?;
    Ok(Err(match error {
        ClientError::TooLarge(_) => Problem(StatusCode::PAYLOAD_TOO_LARGE, "The file is too large."),
        _ => Problem(StatusCode::SERVICE_UNAVAILABLE, "Uploads cannot be checked at the moment. Please try again later."),
    }))
}

/// The form's file, with the name that the browser gave it.
async fn read(mut form: Multipart) -> Result<(String, Vec<u8>), Problem> {
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem(StatusCode::PAYLOAD_TOO_LARGE, "The file is larger than 5 MB."),
        _ => Problem(StatusCode::BAD_REQUEST, "The upload broke off. Please try again."),
    };
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("picture") {
            continue;
        }
        let name = field.file_name().unwrap_or_default().chars().take(NAME_MAX).collect();
        let bytes = field.bytes().await.map_err(broken)?;
        return match bytes.len() {
            0 => Err(Problem(StatusCode::BAD_REQUEST, "Choose a file first.")),
            1..=PICTURE_MAX => Ok((name, bytes.into())),
            _ => Err(Problem(StatusCode::PAYLOAD_TOO_LARGE, "The file is larger than 5 MB.")),
        };
    }
    Err(Problem(StatusCode::BAD_REQUEST, "Choose a file first."))
}

/// The bytes of what is published, and of nothing else.
async fn picture(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Response, Ours> {
    bytes_of(&desk, id, State::Published).await
}

async fn bytes_of(desk: &Desk, id: String, state: State) -> Result<Response, Ours> {
    let found = desk.avatars.find(id).await?.filter(|avatar| avatar.state == state);
    let Some(avatar) = found else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    // The id comes from the database: it is 32 hex digits.
    let bytes = fs::read(desk.files.join(&avatar.id)).await?;
    let (media_type, disposition) = match page::picture_type(&bytes) {
        Some(media_type) => (media_type, "inline"),
        None => ("application/octet-stream", "attachment"),
    };
    Ok(([(header::CONTENT_TYPE, media_type), (header::CONTENT_DISPOSITION, disposition)], bytes).into_response())
}

// In an application that is more than an example these three are behind a login.

/// What a person is to decide about. It is free of malware: only the verdict `nsfw` leads there.
async fn under_review(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Response, Ours> {
    bytes_of(&desk, id, State::Review).await
}

async fn approve(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Redirect, Ours> {
    desk.avatars.review(id, State::Published).await?;
    Ok(Redirect::to("/"))
}

async fn reject(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Redirect, Ours> {
    desk.avatars.review(id, State::Rejected).await?;
    Ok(Redirect::to("/"))
}

/// Forms of other sites are not ours, and no page loads anything from elsewhere.
async fn guard(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    if foreign && request.method() == Method::POST {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A fault of ours: logged, and not shown.
struct Ours(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Ours {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Ours {
    fn into_response(self) -> Response {
        tracing::error!(error = %self.0, "a request failed");
        (StatusCode::INTERNAL_SERVER_ERROR, Html(page::render(&[], Some("Something went wrong on our side.")))).into_response()
    }
}
