// Inside of the door: one connection, which may bring several sessions (SMFIC_QUIT_NC) of several messages.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/filter/chain.h"
#include "core/mime/canonical.h"
#include "core/milter/connection.h"
#include "core/milterd/door.h"

namespace millrace::milterd {

inline constexpr auto kWriteTime = std::chrono::seconds(30);
inline constexpr const char* kHeld = "held by a filter";

class Conversation {
 public:
  Conversation(Door& door, std::unique_ptr<net::Stream> stream);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  void run();   // [fiber]

 private:
  // An SMTP session of the MTA.
  struct Session {
    Session(std::shared_ptr<const filter::Chain> used, const log::Logger& log)
        : chain(std::move(used)), filters(*chain, facts, nullptr, log) {}
    std::shared_ptr<const filter::Chain> chain;
    filter::SessionFacts facts;
    filter::ChainSession filters;
  };

  // A message of it.
  struct Transaction {
    explicit Transaction(int spool) : body(spool) {}
    mime::Envelope envelope;
    std::map<std::string, std::string> typed;   // recipients, internal form: as the MTA gave them
    std::vector<mime::Header> headers;
    std::size_t header_size = 0;
    mime::Body body;
    mime::Canonicalizer canonicalizer;
    std::vector<std::string> prepend;
    std::optional<filter::Verdict> trouble;             // of the content, told at its end
    std::string hold;                           // quarantine said before the content
    bool discard = false;
  };
  using Macros = std::map<std::string, std::string, std::less<>>;

  bool negotiate();
  bool take(const milter::Packet& packet);   // false: the connection ends
  bool malformed(const milter::Packet& packet);

  // Events; the answer is written, or false.
  bool connect(std::string_view data);
  bool helo(std::string_view data);
  bool mail(std::string_view data);
  bool rcpt(std::string_view data);
  bool header(std::string_view data);
  void body(std::string_view data);
  bool end_of_message(std::string_view data);
  bool macros(std::string_view data);

  Session& session();
  Transaction& transaction();
  std::string_view macro(std::string_view name) const;
  void learn();   // what macros say of the session
  filter::Verdict ask(filter::Stage stage, const std::string& command, const std::string& typed,
                      std::vector<std::string_view> parameters = {}, const mime::Recipient* rcpt = nullptr);
  void answer(filter::Stage stage, const filter::Verdict& verdict);
  void answer(char command);
  void keep(std::string_view bytes);
  filter::Verdict judge();
  struct Before;
  filter::Verdict ask_for_edits(const Before& before, mime::Message& message);
  bool send_body(const mime::Body& body);
  void end_transaction();
  void end_session();

  Door& door_;
  net::Stream* stream_;
  milter::Connection connection_;
  log::Logger log_;
  std::uint32_t version_ = 0, actions_ = 0, protocol_ = 0;
  std::map<char, Macros> macros_;   // by event
  std::unique_ptr<Session> session_;
  std::unique_ptr<Transaction> transaction_;
};

}  // namespace millrace::milterd
