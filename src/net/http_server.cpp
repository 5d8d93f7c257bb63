#include "net/http_server.h"

#include <filesystem>

#include "base/cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/connection_set.h"
#include "net/event_loop_impl.h"

namespace quern {

/// What listens.
struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(EventLoop& its_loop, HttpServerOptions options, HttpHandler& handler)
      : loop(its_loop),
        set(std::make_shared<ConnectionSet>(loop, std::move(options), handler)),
        acceptor(loop.impl().context) {}

  Result<void> open();
  void accept();
  void close_acceptor() {
    SystemError ignored;
    acceptor.close(ignored);
  }

  EventLoop& loop;
  std::shared_ptr<ConnectionSet> set;
  Tcp::acceptor acceptor;
};

namespace {

constexpr int64_t kRetryNs = 100'000'000;  // after a connection that could not be accepted

/// Reads the certificate and its key.
Result<void> load_certificate(asio::ssl::context& tls, const HttpServerOptions& options) {
  for (const std::string& file : {options.certificate_file, options.key_file}) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored)) continue;
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat("\"", file,
                                "\": there is no such file; TLS needs a certificate "
                                "and its key in PEM form"),
                 .what = file};
  }
  const auto bad = [](const std::string& file, const SystemError& error) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(file, ": ", error.message(), "; wanted PEM"),
                 .what = file,
                 .found = error.message(),
                 .wanted = "PEM"};
  };
  using Context = asio::ssl::context;
  SystemError error;
  tls.set_options(Context::default_workarounds | Context::no_sslv2 | Context::no_sslv3 |
                  Context::no_tlsv1 | Context::no_tlsv1_1);
  if (tls.use_certificate_chain_file(options.certificate_file, error); error) {
    return bad(options.certificate_file, error);
  }
  if (tls.use_private_key_file(options.key_file, Context::pem, error); error) {
    return bad(options.key_file, error);
  }
  return {};
}

}  // namespace

Result<void> HttpServer::Impl::open() {
  const HttpServerOptions& options = set->options;
  if (!options.certificate_file.empty() || !options.key_file.empty()) {
    RETURN_IF_ERROR(load_certificate(set->tls, options));
  }
  const auto failed = [&](const SystemError& error) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat("cannot listen on ", options.host, " port ", options.port, ": ",
                                error.message()),
                 .what = cat(options.host, ":", options.port),
                 .found = error.message(),
                 .try_next = "another --port, or --port 0 for a free one"};
  };
  SystemError error;
  Tcp::resolver resolver(loop.impl().context);
  const auto endpoints =
      resolver.resolve(options.host, cat(options.port), Tcp::resolver::passive, error);
  if (error) return failed(error);
  const Tcp::endpoint endpoint = endpoints.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) return failed(error);
  return {};
}

void HttpServer::Impl::accept() {
  acceptor.async_accept([self = shared_from_this()](SystemError error, Tcp::socket socket) {
    if (!self->set->accepting) return;
    if (error) {
      // Out of descriptors, mostly: others will leave.
      log_warning(cat("cannot accept a connection: ", error.message()));
      self->loop.at(steady_clock().now_ns() + kRetryNs, [self] {
        if (self->set->accepting) self->accept();
      });
      return;
    }
    self->set->add(std::move(socket));
    self->accept();
  });
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(EventLoop& loop, HttpServerOptions options,
                                                       HttpHandler& handler) {
  auto impl = std::make_shared<Impl>(loop, std::move(options), handler);
  RETURN_IF_ERROR(impl->open());
  impl->accept();
  impl->set->sweep_soon();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  impl_->close_acceptor();
  impl_->set->close_all();
}

uint16_t HttpServer::port() const {
  SystemError ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

int64_t HttpServer::num_connections() const {
  return static_cast<int64_t>(impl_->set->open.size());
}

void HttpServer::stop_accepting() {
  impl_->close_acceptor();
  impl_->set->stop_accepting();
}

}  // namespace quern
