// What a call of an in-process plugin costs, and header_checks as a plugin: no ctest case, see README.md.
//
//   plugin_bench PLUGINS_DIRECTORY        the folder that holds header_checks.so (build/release/plugins)
//
// "call" is what the chain pays to ask the plugin about a stage beyond what it pays for any filter: handle, event, stack,
// deadline, answer.  "bare" is the plugin's function alone.  CPU time of the thread, the median of 7 runs.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <vector>

#include "core/map/table.h"
#include "core/net/fiber.h"
#include "core/plugin/filter.h"
#include "core/plugin/options.h"

using namespace millrace;

namespace {

mr_filter noop{};
std::int32_t nothing(void*, const mr_event*, mr_verdict*) { return MR_DONE; }
mr_descriptor make_descriptor() {
  mr_descriptor d{};
  d.struct_size = sizeof d;
  d.stages = MR_STAGE_RCPT | MR_STAGE_MESSAGE;
  d.threads = MR_THREADS_FREE;
  d.id = "noop";
  d.version = "1";
  d.summary = "nothing";
  return d;
}
const mr_descriptor kDescriptor = make_descriptor();
const mr_entry kEntry = {sizeof(mr_entry), MR_ABI_MAJOR, MR_ABI_MINOR, MR_ABI_DRAFT, 1, 0, MR_SDK_VERSION, "bench",
                         [](std::uint32_t i) { return i == 0 ? &kDescriptor : nullptr; },
                         [](const mr_host*, const char*) {
                           noop.struct_size = sizeof noop;
                           noop.on_stage = nothing;
                           noop.destroy = [](void*) {};
                           return &noop;
                         }};

double cpu_nanoseconds() {   // of this thread: what others do on the machine shows less
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double nanoseconds_each(int rounds, const std::function<void()>& body) {
  std::vector<double> runs;
  for (int i = 0; i < 7; ++i) {
    const double start = cpu_nanoseconds();
    for (int n = 0; n < rounds; ++n) body();
    runs.push_back((cpu_nanoseconds() - start) / rounds);
  }
  std::sort(runs.begin(), runs.end());
  return runs[3];
}

void calls() {
  auto library = plugin::Library::from_entry("noop", &kEntry);
  auto filter = plugin::make_filter(*library, "plugin:noop", plugin::Host{{}, log::Logger()});
  if (!filter) return void(std::printf("noop: %s\n", filter.error().context.c_str()));
  const filter::SessionFacts facts;
  mime::Envelope envelope;
  const mime::Recipient rcpt{"someone@dest.example", "someone@dest.example", "", 0};
  const auto session = (*filter)->open(facts);
  filter::Context context{.session = facts, .envelope = envelope, .rcpt = &rcpt, .command = "RCPT TO:<someone@dest.example>",
                          .typed = "<someone@dest.example>"};
  context.deadline = Deadline::after(std::chrono::hours(1));
  const double call = nanoseconds_each(500'000, [&] { (void)session->at(filter::Stage::rcpt, context); });
  mr_event event{};
  mr_verdict verdict{};
  const auto bare = nanoseconds_each(500'000, [&] { (void)noop.on_stage(nullptr, &event, &verdict); });
  std::printf("no-op plugin at RCPT: call %.0f ns, bare function %.1f ns\n", call, bare);
  filter::Chain chain;
  for (int i = 0; i < 10; ++i) chain.add(*plugin::make_filter(*library, "plugin:noop", plugin::Host{{}, log::Logger()}));
  filter::ChainSession ten(chain, facts, nullptr, log::Logger());
  const double all = nanoseconds_each(50'000, [&] { (void)ten.at(filter::Stage::rcpt, context); });
  std::printf("ten of them in a chain: %.0f ns a stage, clock readings and counting of the chain included\n", all);
}

void header_checks(const std::string& directory) {
  const std::string rules = directory + "/rules.pcre";
  FILE* const file = std::fopen(rules.c_str(), "w");
  if (file == nullptr) return void(std::printf("cannot write %s\n", rules.c_str()));
  for (int i = 0; i < 200; ++i) {
    static constexpr const char* kNames[] = {"Subject", "From", "To", "X-Mailer", "Received", "Content-Type", "Message-ID", "Reply-To"};
    std::fprintf(file, "/^%s:.*\\b(spam%d|offer[- ]%d)\\b/ REJECT no %d\n", kNames[i % 8], i, i, i);
  }
  std::fclose(file);
  auto filter = plugin::make_filter(directory, "{ plugin:header_checks, header_checks=pcre:" + rules + " }", plugin::Host{{}, log::Logger()});
  if (!filter) return void(std::printf("header_checks: %s\n", filter.error().context.c_str()));
  const filter::SessionFacts facts;
  mime::Message message;
  const std::pair<const char*, const char*> headers[] = {
      {"Received", "from mail.example (mail.example [192.0.2.1])\n\tby mx.example (Postfix) with ESMTPS id 4ABC\n\tfor <a@b.example>; Sat, 21 Nov 2026 11:50:52 +0000"},
      {"Received", "by mail.example; Sat, 21 Nov 2026 11:50:51 +0000"}, {"From", "Somebody Else <somebody@mail.example>"},
      {"To", "a@b.example"}, {"Subject", "The minutes of last week's meeting, with two questions"}, {"Date", "Sat, 21 Nov 2026 11:50:50 +0000"},
      {"Message-ID", "<20261121115050.1234@mail.example>"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"},
      {"X-Mailer", "Some Mailer 1.2.3"}, {"DKIM-Signature", "v=1; a=rsa-sha256; c=relaxed/simple; d=mail.example; s=x; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=abcdef"}};
  for (const auto& [name, value] : headers) message.headers.push_back(mime::Header::make(name, value));
  (void)message.body.append(std::string(5000, 'x') + "\r\n");
  mime::Envelope envelope;
  filter::Context context{.session = facts, .envelope = envelope};
  context.deadline = Deadline::after(std::chrono::hours(1));
  const auto session = (*filter)->open(facts);
  bool passed = true;
  const double each = nanoseconds_each(5'000, [&] {
    filter::Journal journal;
    passed = passed && session->message(context, message, journal).action == filter::Action::proceed;
  });
  std::printf("200 pcre header rules as a plugin, message of 11 fields and 5 KB: %.1f us a message%s\n", each / 1000, passed ? "" : " (NOT PASSED)");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: plugin_bench PLUGINS_DIRECTORY\n"), 2;
  net::Loop loop;
  char place[] = "/tmp/plugin-benchXXXXXX";
  const std::string directory = mkdtemp(place);
  std::filesystem::copy_file(std::string(argv[1]) + "/header_checks.so", directory + "/header_checks.so");
  chmod((directory + "/header_checks.so").c_str(), 0644);
  (void)loop.spawn(net::Stack::session, [&] {
    calls();
    header_checks(directory);
    loop.stop();
  });
  loop.run();
  std::filesystem::remove_all(directory);
}
