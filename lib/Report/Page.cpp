// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Report/Page.h"
#include "PageParts.h"
#include "nag/Report/ProfilePage.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace llvm;
using namespace nag::report;

/// Points of a curve, and columns of a heat map, that a page keeps.
static constexpr size_t kMaxPoints = 1000;
static constexpr size_t kMaxColumns = 120;

static json::Value toJSON(double value) {
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

static json::Object describeNumbers(const Series &full) {
  Series series = averageRows(full, kMaxPoints);
  json::Array values;
  for (const std::vector<double> &row : series.rows)
    values.push_back(toJSON(row.front()));
  return json::Object{{"steps", json::Array(series.steps)},
                      {"values", std::move(values)}};
}

static json::Object describeLists(const Series &full) {
  Series series = pickRows(full, kMaxColumns);
  json::Array rows;
  for (const std::vector<double> &row : series.rows) {
    json::Array values;
    for (double value : row)
      values.push_back(toJSON(value));
    rows.push_back(std::move(values));
  }
  return json::Object{{"steps", json::Array(series.steps)},
                      {"rows", std::move(rows)}};
}

static json::Object describe(const RunLog &run, StringRef name) {
  json::Object numbers, lists;
  for (const auto &[metric, series] : run.numbers)
    numbers[metric] = describeNumbers(series);
  for (const auto &[metric, series] : run.lists)
    lists[metric] = describeLists(series);
  json::Value config(nullptr);
  if (run.config)
    config = json::Object(*run.config);
  return json::Object{{"name", name},
                      {"path", run.path},
                      {"config", std::move(config)},
                      {"numbers", std::move(numbers)},
                      {"lists", std::move(lists)}};
}

json::Value nag::report::toJSON(ArrayRef<RunLog> runs) {
  json::Array array;
  for (const RunLog &run : runs) {
    bool isUnique = count_if(runs, [&](const RunLog &other) {
                      return other.name == run.name;
                    }) == 1;
    array.push_back(describe(run, isUnique ? run.name : run.path));
  }
  return json::Object{{"runs", std::move(array)}};
}

static std::string escapeHTML(StringRef text) {
  std::string result;
  for (char c : text) {
    if (c == '&')
      result += "&amp;";
    else if (c == '<')
      result += "&lt;";
    else
      result += c;
  }
  return result;
}

/// JSON that no HTML parser mistakes for the end of its script.
static std::string escapeScript(const json::Value &value) {
  std::string result;
  for (char c : formatv("{0}", value).str())
    if (c == '<')
      result += "\\u003c";
    else
      result += c;
  return result;
}

static void writePage(const json::Value &data, StringRef title,
                      StringRef program, raw_ostream &os) {
  std::string heading = escapeHTML(title);
  os << "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"
        "\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>"
     << heading << "</title>\n<style>\n"
     << kPageStyle << "</style>\n</head>\n<body>\n<main>\n<h1>" << heading
     << "</h1>\n<div id=\"report\"></div>\n<noscript>The pictures need "
        "JavaScript.</noscript>\n</main>\n"
     << "<script type=\"application/json\" id=\"data\">" << escapeScript(data)
     << "</script>\n<script>\n\"use strict\";\n"
     << kPageCharts << program << "</script>\n</body>\n</html>\n";
}

void nag::report::writePage(ArrayRef<RunLog> runs, StringRef title,
                            raw_ostream &os) {
  ::writePage(toJSON(runs), title, kPageReport, os);
}

void nag::report::writeProfilePage(const json::Value &profile, StringRef title,
                                   raw_ostream &os) {
  ::writePage(profile, title, kPageProfile, os);
}
