// A text panel: Grafana's own markdown and style.
import { renderTextPanelMarkdown, textUtil } from '@grafana/data';

export function Text({ panel, height, replace }) {
  const { content, mode } = panel.options;
  const html = mode === 'html' ? textUtil.sanitizeTextPanelContent(replace(content)) : renderTextPanelMarkdown(replace(content));
  return <div className="markdown-html" style={{ height, overflow: 'hidden' }} dangerouslySetInnerHTML={{ __html: html }} />;
}
