//! A dashboard of whatever talks to a broker: `cargo run --example dashboard -- amqp://localhost redis://localhost`

use std::net::SocketAddr;

use celeriac::App;
use celeriac_dashboard::Dashboard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().unwrap_or_else(|| "amqp://localhost".to_owned());
    let backend = arguments.next().unwrap_or_else(|| "memory://".to_owned());
    let app = App::builder().broker(broker).backend(backend).build().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:5555").await?;
    let address: SocketAddr = listener.local_addr()?;
    let mut dashboard = Dashboard::builder(app).title("Queues");
    if let Ok(token) = std::env::var("DASHBOARD_ACT_TOKEN") {
        dashboard = dashboard.act_token(token);
    }
    let pages = dashboard.into_router(address)?;
    tracing::info!("http://{address}");
    axum::serve(listener, pages).await?;
    Ok(())
}
