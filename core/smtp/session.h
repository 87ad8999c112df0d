// One SMTP server session, greeting to close, on its own fiber (RFC 5321; the behaviour, codes and texts of
// Postfix 3.7's smtpd).
//
// It knows syntax, order, limits and replies.  What may pass is the chain's business (core/filter), where an
// accepted message goes the sink's.  A command goes check -> filters -> proceed: syntax and order first,
// without side effects, then the chain, then the change of state.  Handlers return a Reply and never touch
// the stream; run() talks.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/filter/chain.h"
#include "core/net/line_stream.h"
#include "core/net/stream.h"
#include "core/smtp/command.h"
#include "core/smtp/reply.h"
#include "core/smtp/service.h"
#include "core/smtp/transcript.h"
#include "core/smtp/transaction.h"

namespace millrace::smtp {

class Session {
 public:
  // The ends of the connection have empty addresses for a unix-domain socket.  `service` outlives the session.
  Session(std::unique_ptr<net::Stream> stream, const ServiceContext& service, const net::Endpoint& client,
          const net::Endpoint& server);
  ~Session();
  Session(const Session&) = delete;

  // The whole session; returns when it is over and logged. [fiber]
  void run();

 private:
  struct Input {
    std::string_view line;          // dies at the next read
    std::vector<Word> words;
    std::string_view argument(std::size_t from) const;   // of the line, from that word on
  };
  struct Command {
    const char* verb;
    const char* counter;            // in the disconnect line
    Reply (Session::*handler)(const Input&);
    unsigned flags;
  };
  enum Flags : unsigned {
    kJunk = 1,          // counts towards smtpd_junk_command_limit
    kBeforeTls = 2,     // allowed before a required STARTTLS
    kLast = 4,          // must be the last of a pipelined group (RFC 2920 section 3.1)
  };
  static constexpr std::size_t kCommandCount = 15;
  static const Command kCommands[kCommandCount];

  // session.cc: the talk
  bool admit(Reply& refusal);       // maxproc, anvil
  bool admit_client(Reply& refusal);
  void converse();
  Reply greet();
  Reply next_command();
  Reply dispatch(std::string_view line);
  Reply unknown_command(const Input& input);
  bool improper_pipelining(const Command& command);
  bool send(Reply& reply);
  void trace(char who, std::string_view lines) const;   // -v, debug_peer_list
  void count_reply(const Reply& reply);
  Reply read_failed(const Error& error);
  void log_end();
  Deadline read_deadline() const;

  // session_facts.cc: who the client is, and what is logged of it
  void look_up_client();
  void set_client(std::string name, std::string address, std::string port);
  const std::string& shown_address() const;   // never empty
  std::string rfc_address() const;            // "IPv6:…" where it is one
  void log_event(const log::Logger& log, std::string_view what, std::string_view text, const mime::Recipient* rcpt = nullptr) const;
  bool is_limited_client() const;             // not in smtpd_client_event_limit_exceptions
  std::optional<std::string> footer_value(std::string_view name) const;

  // session_filters.cc: asking the chain
  Transaction& transaction();       // made when it is first needed
  void end_transaction();
  filter::Verdict ask(filter::Stage stage, const Input* input, std::string_view typed, std::size_t first_parameter,
                      const mime::Recipient* rcpt = nullptr);
  enum class Log { yes, no };
  Reply refusal(const filter::Verdict& verdict, const mime::Recipient* rcpt = nullptr, Log log = Log::yes);
  void note_outcome(const filter::Verdict& verdict, const mime::Recipient* rcpt = nullptr);  // discard, quarantine
  // Of a filter that refused the session, or is broken: for commands that it is not asked about.
  std::optional<Reply> standing_refusal();

  // session_envelope.cc
  Reply helo(const Input& input);
  Reply ehlo(const Input& input);
  Reply greet_name(const Input& input, bool extended);
  Reply keywords(bool welcome);
  Reply mail(const Input& input);
  Reply rcpt(const Input& input);
  Reply rset(const Input& input);
  Reply noop(const Input& input);
  Reply vrfy(const Input& input);
  Reply etrn(const Input& input);
  Reply quit(const Input& input);
  Reply auth(const Input& input);
  std::optional<std::string> address_of(const Word& typed, bool smtputf8, bool may_be_empty, bool strict);
  bool open_message(std::string_view after);   // queue id and "client=" line; false: cannot
  Extensions extensions() const;

  // session_content.cc
  Reply data(const Input& input);
  Reply bdat(const Input& input);
  Reply receive_data();
  Reply receive_chunk();
  Reply skip_chunk(Reply reply);
  std::optional<Reply> begin_content(DataDecoder::Form form, const Input& input);
  void take(std::string& canonical);
  void stream_content();            // to filters that get it while it arrives
  Reply end_of_message();
  Reply finish_message();
  Reply deliver(mime::Message& message);
  mime::Header received() const;
  std::optional<Reply> content_fault() const;
  // The reply when the message cannot be taken.
  std::optional<Reply> settle_recipients(mime::Envelope& envelope) const;
  Reply rewriting_failed(const Error& error) const;

  // session_filter_proxy.cc: a filter that takes the message in the queue's place
  std::optional<Reply> proxy_open();
  std::optional<Reply> proxy_say(const std::string& command, int wanted);
  std::optional<Reply> proxy_recipient(std::string_view command);
  Reply proxy_message(mime::Message& message);
  Reply proxy_failed(const Error& error);
  void log_proxy(const char* what, const Reply& reply) const;

  // session_proxy.cc
  Reply xclient(const Input& input);
  Reply xforward(const Input& input);

  // session_notice.cc
  void tell_postmaster();

  // session_tls.cc
  Reply starttls(const Input& input);
  bool handshake();
  std::string tls_lines() const;

  const ServiceContext& service_;
  const config::Params& params_;
  net::LineStream stream_;
  const std::string socket_address_;          // of the client, whatever XCLIENT says; "" = unix-domain
  log::Logger log_;
  filter::SessionFacts facts_;
  std::string namaddr_;                       // "name[address]"
  std::unique_ptr<filter::ChainSession> chain_;
  std::unique_ptr<Transaction> transaction_;
  bool access_denied_ = false;
  bool may_verp() const;
  bool may_xclient_ = false, may_xforward_ = false;
  bool chunks_failed_ = false;                // a BDAT was refused: the chunks that follow are dropped
  unsigned hidden_keywords_ = 0;
  BareNewline bare_newline_ = BareNewline::no;
  bool traced_ = false;
  bool noted_bare_newline_ = false;
  Chunk chunk_;                               // that BDAT announced
  std::optional<Reply> chunk_reply_;          // to give after the chunk is read and dropped

  // XFORWARD, until the end of the transaction that follows.
  struct Forwarded {
    std::string name, address, port, protocol, helo, ident, source;
    bool given = false;
    bool client = false;   // some attribute but IDENT and SOURCE: then none is the connected client's
  };
  std::unique_ptr<Forwarded> forwarded_;

  Transcript transcript_;
  bool by_policy_ = false;                    // the reply at hand is a refusal of the chain
  std::size_t errors_ = 0, junk_ = 0;
  std::array<std::uint32_t, kCommandCount + 1> seen_{}, good_{};   // the last: unknown
  std::optional<std::size_t> current_;        // command whose outcome is not counted yet
  const char* where_ = "CONNECT";             // last command, for the log
  const char* reason_ = nullptr;              // why the session ended early
  std::uint64_t content_size_ = 0;            // octets of DATA when it did
  Anvil::Connection client_slot_, session_slot_;
};

}  // namespace millrace::smtp
