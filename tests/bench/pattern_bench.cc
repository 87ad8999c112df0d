// What header_checks with 200 pcre rules cost a message of 12 headers: the rules of the kinds that sites collect (words
// in Subject and From, mailers, hosts in Received, attachment names, some about any header), none of which matches.
// Prints microseconds per message, the median of many rounds; the target is 20.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "core/map/pattern.h"

using namespace millrace;

int main() {
  map::PatternRules rules(map::PatternDialect::pcre);
  int line = 0;
  const auto warn = [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  const auto add = [&](const std::string& text) { rules.add(text, ++line, warn); };
  for (int i = 0; i < 40; ++i) {
    const std::string n = std::to_string(i);
    add("/^Subject:.*cheap" + n + " (pills|watches)/ REJECT no spam");
    add("/^From:.*@([a-z]+\\.)?spam" + n + "\\.example>?$/ REJECT sender");
    add("/^Received: from .*\\[203\\.0\\.113\\." + n + "\\]/ REJECT host");
  }
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    add("/^X-Mailer: Bulk ?Sender v" + n + "/ REJECT mailer");
    add("/^(To|Cc):.*undisclosed" + n + "/ WARN");
    add("/^Content-(Type|Disposition):.*name\\s*=\\s*\"?(.*\\.x" + n + "[a-z])\"?/ REJECT attachment $2");
    add("/\\bword" + n + "\\b.*\\bother\\b/ WARN");
  }
  rules.finish(warn);
  const std::vector<std::string> headers = {
      "Received: from mail.sender.example (mail.sender.example [198.51.100.7])\n\tby mx.dest.example (Postfix) with ESMTPS id "
      "4CKpx30Zz9z1\n\tfor <joe@dest.example>; Sat, 21 Nov 2026 10:00:00 +0000 (UTC)",
      "Received: from [192.168.1.17] (unknown [203.0.113.250])\n\tby mail.sender.example with ESMTPSA id 0123456789; Sat, 21 Nov 2026 "
      "09:59:58 +0000",
      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=sender.example; s=key1;\n\tt=1763719200; bh=47DEQpj8HBSa+/"
      "TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\n\th=From:To:Subject:Date;\n\tb=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz",
      "Date: Sat, 21 Nov 2026 10:00:00 +0000",
      "From: Ann Example <ann@sender.example>",
      "To: Joe User <joe@dest.example>, team@dest.example",
      "Subject: Re: minutes of the meeting on Thursday, and the next steps",
      "Message-ID: <7d1f6c1e-4b0a-11ef-9454-0242ac120002@sender.example>",
      "MIME-Version: 1.0",
      "Content-Type: multipart/mixed; boundary=\"=_0123456789abcdef\"",
      "X-Mailer: Example Mail 12.3 (Linux; x86_64)",
      "In-Reply-To: <ea6c1f3c-4b0a-11ef-9454-0242ac120002@dest.example>",
  };
  constexpr int kRounds = 301, kMessages = 100;
  std::vector<double> costs;
  std::size_t found = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (int message = 0; message < kMessages; ++message) {
      for (const std::string& header : headers) {
        const map::Lookup answer = rules.find(header);
        found += answer && answer->has_value();
      }
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    costs.push_back(took.count() / kMessages);
  }
  std::nth_element(costs.begin(), costs.begin() + kRounds / 2, costs.end());
  std::printf("%d rules, %zu headers: %.1f us a message (target 20); %zu found\n", line, headers.size(), costs[kRounds / 2], found);
  return costs[kRounds / 2] < 20 && found == 0 ? 0 : 1;
}
