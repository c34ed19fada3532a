// What the page says, in English and Vietnamese. Answers come in the language of the question, whatever this is.

const WORDS = {
  en: {
    skip: "Skip to the question",
    signIn: "Sign in",
    newConversation: "New chat",
    welcome: "What would you like to know?",
    welcomeMore: "Answers are written from the documents, and every statement names its source.",
    examples: "Example questions",
    conversation: "Conversation",
    yourQuestion: "Your question",
    placeholder: "Ask about the documents",
    hint: "Enter sends, Shift+Enter begins a new line.",
    send: "Send",
    stop: "Stop",
    close: "Close",
    cancel: "Cancel",
    token: "Access token",
    wrongToken: "This token is not known.",
    openPassage: "Open on its own page",
    openOriginal: "Original document",
    answer: "Answer",
    sources: "Sources",
    source: (n, title) => `Source ${n}: ${title}`,
    page: (page) => `p. ${page}`,
    copy: "Copy",
    copied: "Copied",
    retry: "Try again",
    thinking: "Reading your question…",
    writing: "The answer is being written.",
    ready: "The answer is complete.",
    incomplete: "⚠ Incomplete",
    stopped: "Stopped",
    refused: "Not in the documents",
    tooLong: (count, most) => `${count} of at most ${most} characters: please shorten the question.`,
    offline: "No connection. Please check your network and try again.",
    broken: "The connection was lost before the answer was complete.",
    failed: "That did not work. Please try again.",
    rateLimited: "That was a lot of questions in a short time. Please wait a moment and try again.",
    gonePassage: "This passage is not available any more.",
  },
  vi: {
    skip: "Chuyển đến ô câu hỏi",
    signIn: "Đăng nhập",
    newConversation: "Hỏi mới",
    welcome: "Bạn muốn biết điều gì?",
    welcomeMore: "Câu trả lời được viết từ tài liệu, mỗi ý đều ghi rõ nguồn.",
    examples: "Câu hỏi gợi ý",
    conversation: "Cuộc trò chuyện",
    yourQuestion: "Câu hỏi của bạn",
    placeholder: "Hỏi về các tài liệu",
    hint: "Nhấn Enter để gửi, Shift+Enter để xuống dòng.",
    send: "Gửi",
    stop: "Dừng",
    close: "Đóng",
    cancel: "Hủy",
    token: "Mã truy cập",
    wrongToken: "Mã này không đúng.",
    openPassage: "Mở trang riêng",
    openOriginal: "Tài liệu gốc",
    answer: "Câu trả lời",
    sources: "Nguồn",
    source: (n, title) => `Nguồn ${n}: ${title}`,
    page: (page) => `tr. ${page}`,
    copy: "Sao chép",
    copied: "Đã sao chép",
    retry: "Thử lại",
    thinking: "Đang đọc câu hỏi…",
    writing: "Đang viết câu trả lời.",
    ready: "Câu trả lời đã xong.",
    incomplete: "⚠ Chưa hoàn chỉnh",
    stopped: "Đã dừng",
    refused: "Không có trong tài liệu",
    tooLong: (count, most) => `${count}/${most} ký tự: bạn vui lòng rút ngắn câu hỏi.`,
    offline: "Không có kết nối. Bạn kiểm tra mạng rồi thử lại nhé.",
    broken: "Mất kết nối khi câu trả lời chưa xong.",
    failed: "Chưa thực hiện được. Bạn vui lòng thử lại.",
    rateLimited: "Bạn hỏi hơi nhanh. Bạn chờ một chút rồi thử lại nhé.",
    gonePassage: "Đoạn này không còn nữa.",
  },
};

export const language = navigator.language.toLowerCase().startsWith("vi") ? "vi" : "en";
export const words = WORDS[language];

/** Put the words into the page's own elements. */
export function translate(root) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
  for (const element of root.querySelectorAll("[data-word-label]")) {
    element.setAttribute("aria-label", words[element.dataset.wordLabel]);
    if (element.tagName === "BUTTON") element.title = words[element.dataset.wordLabel];
  }
  for (const element of root.querySelectorAll("[data-word-placeholder]")) {
    element.placeholder = words[element.dataset.wordPlaceholder];
  }
}
