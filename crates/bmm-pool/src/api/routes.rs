//! The paths.

use super::{
    Api, now_millis, refuse,
    views::{AccountView, BlockPage, BlockView, PoolView, SideView, WorkerPage, workers as all_workers},
};
use crate::books::{BooksError, MAX_PAGE};
use alloy_primitives::Address;
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Rows of a page, where the request does not say.
const PAGE: u32 = 50;

/// What may follow the question mark.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    pub before: Option<u64>,
    pub after: Option<Address>,
    pub offset: Option<usize>,
    pub limit: Option<u32>,
    pub account: Option<Address>,
}

impl Page {
    fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE)
    }
}

/// Why there is no answer.
pub enum Refusal {
    Books(BooksError),
    Query(QueryRejection),
    NotFound(&'static str),
    Bad(&'static str),
}

impl From<BooksError> for Refusal {
    fn from(error: BooksError) -> Self {
        Self::Books(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Books(error) => {
                tracing::warn!(%error, "a request to the pool's API failed");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, "the pool's books cannot be read at this moment")
            }
            Self::Query(rejection) => refuse(StatusCode::BAD_REQUEST, &rejection.body_text()),
            Self::NotFound(what) => refuse(StatusCode::NOT_FOUND, what),
            Self::Bad(what) => refuse(StatusCode::BAD_REQUEST, what),
        }
    }
}

type Asked<T> = Result<Query<T>, QueryRejection>;
type Answer<T> = Result<Json<T>, Refusal>;

fn query<T>(asked: Asked<T>) -> Result<T, Refusal> {
    asked.map(|Query(value)| value).map_err(Refusal::Query)
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::Bad("the path needs a whole number"))
}

pub async fn pool(State(api): State<Arc<Api>>) -> Answer<PoolView> {
    let state = &api.state;
    let mut sides = Vec::new();
    for side in &state.sides {
        sides.push(SideView::new(side, state, now_millis()).await?);
    }
    Ok(Json(PoolView {
        wallet: state.wallet.clone(),
        fee_basis_points: state.fee_basis_points,
        window_blocks: state.window_blocks,
        min_payment: state.min_payment.clone(),
        payment_fee: state.payment_fee.clone(),
        sides,
    }))
}

pub async fn workers(State(api): State<Arc<Api>>, asked: Asked<Page>) -> Answer<WorkerPage> {
    let page = query(asked)?;
    let all = all_workers(&api.state.sides, page.account, now_millis());
    let total = all.len();
    let offset = page.offset.unwrap_or(0);
    let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
    let end = offset.saturating_add(limit);
    let workers = all.into_iter().skip(offset).take(limit).collect();
    Ok(Json(WorkerPage { workers, total, next: (end < total).then_some(end) }))
}

pub async fn blocks(State(api): State<Arc<Api>>, asked: Asked<Page>) -> Answer<BlockPage> {
    let page = query(asked)?;
    let blocks = api.state.books.blocks(page.before, page.limit()).await?;
    let next = blocks.last().map(|block| block.number).filter(|number| *number > 1);
    let next = next.filter(|_| blocks.len() == usize::try_from(page.limit()).unwrap_or(usize::MAX));
    Ok(Json(BlockPage { blocks: blocks.into_iter().map(BlockView::from).collect(), next }))
}

pub async fn block(State(api): State<Arc<Api>>, Path(text): Path<String>) -> Answer<BlockView> {
    let found = api.state.books.block(number(&text)?).await?;
    found.map(|block| Json(block.into())).ok_or(Refusal::NotFound("the pool has no block of that number"))
}

/// What a list of rows looks like.
#[derive(Serialize)]
pub struct Rows<T> {
    rows: Vec<T>,
}

pub async fn credits(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
    asked: Asked<Page>,
) -> Answer<Rows<crate::books::Credit>> {
    let page = query(asked)?;
    let block = number(&text)?;
    let rows = match page.account {
        Some(account) => api.state.books.credit(block, account).await?.into_iter().collect(),
        None => api.state.books.credits(block, page.after, page.limit()).await?,
    };
    Ok(Json(Rows { rows }))
}

pub async fn payments(State(api): State<Arc<Api>>, asked: Asked<Page>) -> Answer<Rows<crate::books::Payment>> {
    let page = query(asked)?;
    Ok(Json(Rows { rows: api.state.books.payments(page.account, page.before, page.limit()).await? }))
}

pub async fn items(State(api): State<Arc<Api>>, Path(text): Path<String>) -> Answer<Rows<crate::books::PayItem>> {
    Ok(Json(Rows { rows: api.state.books.items(number(&text)?).await? }))
}

pub async fn account(State(api): State<Arc<Api>>, Path(text): Path<String>) -> Answer<AccountView> {
    let account: Address = text.parse().map_err(|_| Refusal::Bad("an account is 0x and 40 hexadecimal digits"))?;
    let books = &api.state.books;
    let mut workers = all_workers(&api.state.sides, Some(account), now_millis());
    workers.truncate(usize::try_from(MAX_PAGE).unwrap_or(usize::MAX));
    let mut immature = BTreeMap::new();
    for side in &api.state.sides {
        for chain in (side.chains)() {
            let amount = books.immature(&chain.name, account).await?;
            immature.insert(chain.name, amount.to_string());
        }
    }
    let balances = books.account(account).await?;
    let payments = books.payments(Some(account), None, 20).await?;
    Ok(Json(AccountView { account, balances, immature, workers, payments }))
}
